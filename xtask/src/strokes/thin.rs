//! Thinning to lines of one pixel's width (Guo and Hall 1989, algorithm A1).

use super::raster::{Pixel, Raster};

/// Removes ink from the edges until only centre lines are left. Connected ink stays connected, and holes stay holes.
pub(super) fn thin(raster: &mut Raster) {
    let mut phase = 0;
    let mut unchanged = 0;
    while unchanged < 2 {
        let goes = |&pixel: &Pixel| is_removable(raster.around(pixel), phase);
        let gone: Vec<Pixel> = raster.pixels().into_iter().filter(goes).collect();
        unchanged = if gone.is_empty() { unchanged + 1 } else { 0 };
        for pixel in gone {
            raster.remove(pixel);
        }
        phase = 1 - phase;
    }
}

fn is_removable(around: [bool; 8], phase: usize) -> bool {
    let [n, ne, e, se, s, sw, w, nw] = around;
    // The parts of ink around the pixel that do not touch each other: with more than one, the pixel joins them.
    let parts = [
        !n && (ne || e),
        !e && (se || s),
        !s && (sw || w),
        !w && (nw || n),
    ];
    let pairs = |pairs: [bool; 4]| pairs.into_iter().filter(|&ink| ink).count();
    // Fewer than two: the end of a line. More than three: inside.
    let neighbours = pairs([nw || n, ne || e, se || s, sw || w]).min(pairs([
        n || ne,
        e || se,
        s || sw,
        w || nw,
    ]));
    let is_kept = match phase {
        0 => (n || ne || !se) && e,
        _ => (s || sw || !nw) && w,
    };
    pairs(parts) == 1 && (2..=3).contains(&neighbours) && !is_kept
}
