//! Values whose channels are channels of other values, in any order: concatenations, slices and shuffles that do not
//! fall on whole planes. Their backward passes are of the same kind.

use super::activation::{activate, for_activation};
use super::{Reading, entry_f32};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};

/// For each plane of the target, the lanes that it takes from planes of the sources.
#[derive(Clone, Debug)]
pub(crate) struct Gather {
    planes: Vec<Vec<Pick>>,
}

/// The lanes that a plane takes from one plane of a source.
#[derive(Clone, Copy, Debug)]
struct Pick {
    source: usize,
    plane: usize,
    /// For each lane, the source's lane; [`LANES`] for none.
    lanes: [u32; LANES],
}

/// Number of picks that one loop adds up.
const PICKS: usize = 4;
/// Number of rows that stay in the cache while several loops add to them.
const ROWS: usize = 128;

impl Gather {
    /// A value whose channel `i` is the channel of the source in `map[i]`, or 0.
    pub(crate) fn new(map: &[Option<(usize, usize)>]) -> Gather {
        let picks = |plane: &[Option<(usize, usize)>]| {
            let mut picks: Vec<Pick> = Vec::new();
            for (lane, entry) in plane.iter().enumerate() {
                let Some((source, channel)) = *entry else {
                    continue;
                };
                let from = (source, channel / LANES);
                let known = picks.iter().position(|p| (p.source, p.plane) == from);
                let index = known.unwrap_or_else(|| {
                    picks.push(Pick {
                        source: from.0,
                        plane: from.1,
                        lanes: [LANES as u32; LANES],
                    });
                    picks.len() - 1
                });
                picks[index].lanes[lane] = (channel % LANES) as u32;
            }
            picks.sort_by_key(|pick| (pick.source, pick.plane));
            picks
        };
        let planes: Vec<_> = map.chunks(LANES).map(picks).collect();
        Gather { planes }
    }
}

entry_f32! {
    /// Makes the value, plus the addend, which may be the target itself.
    ///
    /// # Safety
    /// Sources, addend and target hold `rows` pixels.
    fn gather_channels(
        rows: usize,
        gather: &Gather,
        sources: &[Reading],
        addend: Option<Planes>,
        target: Planes,
    ) => gather_channels_kernel
}

#[inline(always)]
unsafe fn gather_channels_kernel<S: Simd>(
    s: S,
    rows: usize,
    gather: &Gather,
    sources: &[Reading],
    addend: Option<Planes>,
    target: Planes,
) {
    for (plane, picks) in gather.planes.iter().enumerate() {
        for start in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - start);
            let target = target.plane(plane).row(start).start;
            let mut before = match addend {
                Some(addend) => Some(addend.plane(plane).row(start).src()),
                None if picks.is_empty() => {
                    target.fill_zero(count * LANES);
                    continue;
                }
                None => None,
            };
            if let (Some(before), true) = (before, picks.is_empty()) {
                for row in 0..count {
                    s.store_pixel(target, row, s.load_pixel(before, row));
                }
            }
            let mut left = &picks[..];
            while let Some(first) = left.first() {
                // One loop applies one activation.
                let activation = sources[first.source].activation;
                let alike = left
                    .iter()
                    .take_while(|pick| sources[pick.source].activation == activation);
                let (now, later) = left.split_at(alike.count().min(PICKS));
                for_activation!(activation, A => match now.len() {
                    1 => pick_rows::<S, A, 1>(s, start, count, now, sources, before, target),
                    2 => pick_rows::<S, A, 2>(s, start, count, now, sources, before, target),
                    3 => pick_rows::<S, A, 3>(s, start, count, now, sources, before, target),
                    _ => pick_rows::<S, A, PICKS>(s, start, count, now, sources, before, target),
                });
                before = Some(target.src());
                left = later;
            }
        }
    }
}

/// Adds up `COUNT` picks for `count` rows from row `start` on.
#[inline(always)]
unsafe fn pick_rows<S: Simd, const A: u8, const COUNT: usize>(
    s: S,
    start: usize,
    count: usize,
    picks: &[Pick],
    sources: &[Reading],
    before: Option<Src>,
    target: Dst,
) {
    let mut from = [Src::none(); COUNT];
    let mut affine = [(s.zero(), s.zero()); COUNT];
    let mut orders = [s.order(&picks[0].lanes); COUNT];
    for index in 0..COUNT {
        let pick = &picks[index];
        let source = &sources[pick.source];
        from[index] = source.z.plane(pick.plane).row(start).src();
        affine[index] = source.affine(s, pick.plane);
        orders[index] = s.order(&pick.lanes);
    }
    for row in 0..count {
        let mut sum = match before {
            Some(before) => s.load_pixel(before, row),
            None => s.zero(),
        };
        for index in 0..COUNT {
            let (scale, shift) = affine[index];
            let value = s.mul_add(s.load_pixel(from[index], row), scale, shift);
            let value = activate::<S, A>(s, value);
            sum = s.add(sum, s.permute(value, orders[index]));
        }
        s.store_pixel(target, row, sum);
    }
}
