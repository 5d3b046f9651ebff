//! Finds the tensors in the object of a pickle.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::fault::{Fault, says};
use super::names::Global;
use super::pickle::Pickle;
use super::value::Value;
use crate::weights::tensor_file::{MOST_DIMENSIONS, Stored, escaped};

/// Maximum depth of nested containers.
const DEEPEST: usize = 64;

/// Maximum size of a table in bytes. A pickle may contain a dict once but refer to it through very
/// many paths, which all give different names.
const LARGEST_TABLE: usize = 64 << 20;

/// Approximate size in bytes of an entry in a dict or in the table, without the entry's name.
const ENTRY: usize = 128;

/// The persistent id of a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StorageId<'a> {
    pub(super) dtype: Dtype,
    pub(super) key: &'a str,
    /// Number of values in the storage.
    pub(super) len: u64,
    /// Start and length of the part that is used, in old files.
    part: (u64, u64),
}

impl<'a> StorageId<'a> {
    /// Reads the tuple of a persistent id.
    pub(super) fn of(pickle: &Pickle<'a>, id: usize) -> Result<Self, Fault> {
        let tuple = pickle.objects.sequences[id].as_slice();
        let (storage, view) = match *tuple {
            [Value::Text("storage"), dtype, key, _, len] => ((dtype, key, len), Value::None),
            [Value::Text("storage"), dtype, key, _, len, view] => ((dtype, key, len), view),
            _ => return says("a persistent id that is not of a storage"),
        };
        let (Value::Global(Global::Storage(dtype)), Value::Text(key), len) = storage else {
            return says("a storage without a type or a key");
        };
        let len = count(len, "the length of a storage")?;
        let part = match view {
            Value::None => (0, len),
            Value::Tuple(view) => match pickle.objects.sequences[view][..] {
                [_, first, part] => (
                    count(first, "the beginning of a view")?,
                    count(part, "the length of a view")?,
                ),
                _ => return says("a view of a storage that does not have three parts"),
            },
            other => return says(format!("a view of a storage that is {}", other.kind())),
        };
        if part.0.checked_add(part.1).is_none_or(|end| end > len) {
            let (first, part) = part;
            return says(format!(
                "a view of {part} numbers from {first} on in a storage of {len}"
            ));
        }
        Ok(StorageId {
            dtype,
            key,
            len,
            part,
        })
    }

    /// Size of the storage in bytes. `None` on overflow.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.len.checked_mul(self.dtype.bitsize() as u64 / 8)
    }
}

/// The tensors in a pickle. A tensor's name is its keys, joined by dots. In a list the key is the
/// index, and in an object the name of the attribute. `start` checks that the file contains a whole
/// storage, and returns the offset of its first byte.
pub(super) fn tensors<'a>(
    pickle: &Pickle<'a>,
    mut start: impl FnMut(&StorageId<'a>) -> Result<u64, Fault>,
) -> Result<BTreeMap<String, Stored>, Fault> {
    let Value::Dict(top) = pickle.object else {
        let kind = pickle.object.kind();
        return says(format!("it holds {kind}, expected a dict of tensors"));
    };
    let mut walk = Walk {
        pickle,
        name: String::new(),
        left: LARGEST_TABLE,
        been: [
            vec![false; pickle.objects.sequences.len()],
            vec![false; pickle.objects.objects.len()],
        ],
        found: BTreeMap::new(),
    };
    walk.dict(top, 1)?;
    if walk.found.is_empty() {
        return says("it holds a dict without a tensor in it, expected a dict of tensors");
    }
    let tensors = walk.found.into_iter().map(|(name, tuple)| {
        let stored = stored(pickle, &name, tuple, &mut start)?;
        Ok((name, stored))
    });
    tensors.collect()
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    /// Name of the current container, followed by a dot.
    name: String,
    /// Number of bytes that the table may still grow.
    left: usize,
    /// The lists and objects visited so far. Each is visited only once, because it contains no
    /// network weights. A dict of weights, in contrast, may appear under two names.
    been: [Vec<bool>; 2],
    /// For each tensor, the tuple that describes it.
    found: BTreeMap<String, usize>,
}

impl Walk<'_, '_> {
    fn dict(&mut self, dict: usize, depth: usize) -> Result<(), Fault> {
        let pickle = self.pickle;
        for (key, value) in &pickle.objects.dicts[dict] {
            self.pay(ENTRY)?;
            self.entry(*key, *value, depth)?;
        }
        Ok(())
    }

    fn list(&mut self, list: usize, depth: usize) -> Result<(), Fault> {
        if std::mem::replace(&mut self.been[0][list], true) {
            return Ok(());
        }
        let pickle = self.pickle;
        for (index, value) in pickle.objects.sequences[list].iter().enumerate() {
            self.entry(Value::Int(index as i64), *value, depth)?;
        }
        Ok(())
    }

    /// Adds a value of a container at depth `depth`. `key` is its key in the container.
    fn entry(&mut self, key: Value<'_>, value: Value<'_>, depth: usize) -> Result<(), Fault> {
        if !matches!(
            value,
            Value::Tensor(_) | Value::Dict(_) | Value::List(_) | Value::Tuple(_) | Value::Object(_)
        ) {
            return Ok(());
        }
        let before = self.name.len();
        self.key(key)?;
        if let Value::Tensor(tuple) = value {
            self.pay(ENTRY + self.name.len() + 2 * dimensions(self.pickle, tuple))?;
            if self.found.insert(self.name.clone(), tuple).is_some() {
                return says(format!("it has two tensors named {}", escaped(&self.name)));
            }
        } else {
            self.name.push('.');
            self.within(value, depth + 1)?;
        }
        self.name.truncate(before);
        Ok(())
    }

    /// Adds the contents of a value at depth `depth`.
    fn within(&mut self, value: Value<'_>, depth: usize) -> Result<(), Fault> {
        if depth > DEEPEST {
            return says(format!(
                "dicts and lists are nested more than {DEEPEST} deep"
            ));
        }
        match value {
            Value::Dict(dict) => self.dict(dict, depth),
            Value::List(list) | Value::Tuple(list) => self.list(list, depth),
            Value::Object(object) if !std::mem::replace(&mut self.been[1][object], true) => {
                let [arguments, state] = self.pickle.objects.objects[object];
                self.within(arguments, depth + 1)?;
                self.within(state, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn key(&mut self, key: Value<'_>) -> Result<(), Fault> {
        match key {
            Value::Text(text) => {
                self.pay(text.len())?;
                self.name.push_str(text);
            }
            Value::Int(number) => self.name.push_str(&number.to_string()),
            Value::Float(number) => self.name.push_str(&number.to_string()),
            Value::Bool(truth) => self.name.push_str(if truth { "True" } else { "False" }),
            other => self.name.push_str(other.kind()),
        }
        Ok(())
    }

    fn pay(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => {
                return says(format!(
                    "its dicts repeat the same contents too often: the table of its tensors would \
                     take more than {LARGEST_TABLE} bytes"
                ));
            }
        }
        Ok(())
    }
}

/// Size in bytes of a tensor's shape.
fn dimensions(pickle: &Pickle<'_>, tuple: usize) -> usize {
    match pickle.objects.sequences[tuple].get(2) {
        Some(Value::Tuple(shape) | Value::List(shape)) => {
            let len = pickle.objects.sequences[*shape].len();
            len.min(MOST_DIMENSIONS) * size_of::<usize>()
        }
        _ => 0,
    }
}

/// The location of a tensor. Checks that the tensor is inside its storage.
fn stored<'a>(
    pickle: &Pickle<'a>,
    name: &str,
    tuple: usize,
    start: &mut impl FnMut(&StorageId<'a>) -> Result<u64, Fault>,
) -> Result<Stored, Fault> {
    let name = escaped(name);
    let [Value::Storage(id), offset, shape, strides, ..] = pickle.objects.sequences[tuple][..]
    else {
        return says(format!(
            "{name} is not made of a storage, an offset and a shape"
        ));
    };
    let storage = StorageId::of(pickle, id)?;
    let offset = count(offset, &format!("the offset of {name} in its storage"))?;
    let shape = counts(pickle, shape, &format!("the shape of {name}"))?;
    let strides = counts(pickle, strides, &format!("the strides of {name}"))?;
    if shape.len() != strides.len() {
        let (shape, strides) = (shape.len(), strides.len());
        return says(format!(
            "{name} has {shape} dimensions and {strides} strides"
        ));
    }
    let mut stored = Stored {
        dtype: storage.dtype,
        shape,
        strides,
        start: 0,
    };
    let end = stored.span().and_then(|span| span.checked_add(offset));
    if end.is_none_or(|end| end > storage.part.1) {
        let Stored { shape, strides, .. } = stored;
        return says(format!(
            "{name} of shape {shape:?} and strides {strides:?} from {offset} on does not fit its storage of {} numbers",
            storage.part.1
        ));
    }
    let first = storage.part.0 + offset;
    stored.start = start(&storage)? + first * (storage.dtype.bitsize() as u64 / 8);
    Ok(stored)
}

/// Converts a value to a non-negative number.
fn count(value: Value<'_>, what: &str) -> Result<u64, Fault> {
    match value {
        Value::Int(number) => number
            .try_into()
            .or_else(|_| says(format!("{what} is {number}"))),
        other => says(format!("{what} is {}, expected a number", other.kind())),
    }
}

fn counts(pickle: &Pickle<'_>, value: Value<'_>, what: &str) -> Result<Vec<usize>, Fault> {
    let (Value::Tuple(id) | Value::List(id)) = value else {
        return says(format!("{what} is {}, expected a tuple", value.kind()));
    };
    let numbers = &pickle.objects.sequences[id];
    if numbers.len() > MOST_DIMENSIONS {
        let len = numbers.len();
        return says(format!(
            "{what} has {len} numbers, at most {MOST_DIMENSIONS}"
        ));
    }
    let number = |&value| match usize::try_from(count(value, what)?) {
        Ok(number) => Ok(number),
        Err(_) => says(format!("{what} has a number too large for this machine")),
    };
    numbers.iter().map(number).collect()
}
