//! A reader of pickles that never runs a function. It uses a stack of values of known types.

use std::collections::HashMap;

use super::fault::Fault;
use super::names::Global;
use super::operands::{Operands, Outcome, Stop};
use super::value::{Objects, Value};

/// Maximum number of operations in the pickles of a file. It also limits the number of values. A checkpoint of a
/// thousand tensors with optimizer state has a quarter of a million operations.
const MOST_STEPS: usize = 1 << 21;

/// A pickle that was read completely.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// The pickled object.
    pub(super) object: Value<'a>,
    /// The containers and objects that `object` refers to.
    pub(super) objects: Objects<'a>,
    /// Length of the pickle in bytes.
    pub(super) len: usize,
    /// Number of operations in this pickle and the earlier ones.
    pub(super) steps: usize,
}

/// Reads the pickle at the start of `bytes`. Offsets in errors are relative to that start. `steps` is the number of
/// operations in the file's earlier pickles.
pub(super) fn read(bytes: &[u8], steps: usize) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        operands: Operands::new(bytes),
        steps,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
    };
    loop {
        let start = machine.operands.at();
        let outcome = machine.step();
        match outcome {
            Ok(None) => {}
            Ok(Some(object)) => {
                return Ok(Pickle {
                    object,
                    objects: machine.objects,
                    len: machine.operands.at(),
                    steps: machine.steps,
                });
            }
            Err(Stop::Ended) => return Err(Fault::Ended),
            Err(Stop::Says(reason)) => return Err(Fault::At(start as u64, reason)),
        }
    }
}

struct Machine<'a> {
    operands: Operands<'a>,
    steps: usize,
    stack: Vec<Value<'a>>,
    /// Height of the stack at each mark that is still open.
    marks: Vec<usize>,
    /// Stored values, by index. An index may be any number.
    memo: HashMap<u64, Value<'a>>,
    objects: Objects<'a>,
}

impl<'a> Machine<'a> {
    /// Runs one operation. The last operation returns the object.
    fn step(&mut self) -> Outcome<Option<Value<'a>>> {
        self.pay(1)?;
        let operation = self.operands.array::<1>()?[0];
        match operation {
            0x80 => {
                let [version] = self.operands.array()?;
                if version > 5 {
                    return Err(Stop::Says(format!("a pickle of protocol {version}")));
                }
            }
            // The length of a frame matters only when reading from a stream.
            0x95 => {
                let _frame: [u8; 8] = self.operands.array()?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'.' => return self.pop().map(Some),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a | 0x8b | b'I' | b'L' => {
                let number = self.operands.whole(operation)?;
                self.push(number);
            }
            b'G' => {
                let number = f64::from_be_bytes(self.operands.array()?);
                self.push(Value::Float(number));
            }
            b'F' => {
                let number = self.operands.line()?.parse();
                let number = number.map_err(|_| Stop::from("not a number"))?;
                self.push(Value::Float(number));
            }
            b'X' | 0x8c | 0x8d | b'V' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => {
                let text = self.operands.text(operation)?;
                self.push(text);
            }
            // A set is treated as a list, because only its contents matter.
            b']' | 0x8f => self.sequence(Vec::new(), Value::List),
            b')' => self.sequence(Vec::new(), Value::Tuple),
            b'l' => {
                let items = self.above_mark()?;
                self.sequence(items, Value::List);
            }
            b't' | 0x91 => {
                let items = self.above_mark()?;
                self.sequence(items, Value::Tuple);
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(operation - 0x84))?;
                self.sequence(items, Value::Tuple);
            }
            b'}' => self.dict(Vec::new()),
            b'd' => {
                let items = self.above_mark()?;
                self.dict(pairs(&items)?);
            }
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(operation)?,
            b'q' | b'r' | b'p' | 0x94 => {
                let place = match operation {
                    b'q' => self.operands.array::<1>()?[0].into(),
                    b'r' => u32::from_le_bytes(self.operands.array()?).into(),
                    b'p' => self.operands.place()?,
                    _ => self.memo.len() as u64,
                };
                let value = self.top()?;
                self.memo.insert(place, value);
            }
            b'h' | b'j' | b'g' => {
                let place = match operation {
                    b'h' => self.operands.array::<1>()?[0].into(),
                    b'j' => u32::from_le_bytes(self.operands.array()?).into(),
                    _ => self.operands.place()?,
                };
                let value = self.memo.get(&place).copied();
                self.push(value.ok_or("it reads a memo entry that it never wrote")?);
            }
            b'c' => {
                let (module, name) = (self.operands.line()?, self.operands.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.last(2)?;
                let (Value::Text(module), Value::Text(name)) = (names[0], names[1]) else {
                    return Err("the name of a function or type is not a text".into());
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 | 0x92 => {
                if operation == 0x92 {
                    // Drops the keyword arguments: no type of tensor or container has any.
                    self.pop()?;
                }
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments)?;
                self.push(value);
            }
            b'b' => {
                let state = self.pop()?;
                // The state of a dict or parameter contains no tensors.
                if let Value::Object(id) = self.top()? {
                    self.objects.objects[id][1] = state;
                }
            }
            b'Q' => {
                let Value::Tuple(id) = self.pop()? else {
                    return Err("a persistent id is not a tuple".into());
                };
                self.objects.storages.push(id);
                self.push(Value::Storage(id));
            }
            b'0' => {
                // If no value is above the mark, the mark itself is popped.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                self.above_mark()?;
            }
            b'2' => {
                let value = self.top()?;
                self.push(value);
            }
            other => {
                return Err(Stop::Says(format!(
                    "operation {other:#04x} of pickle, which no file of tensors needs"
                )));
            }
        }
        Ok(None)
    }

    fn pay(&mut self, steps: usize) -> Outcome<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MOST_STEPS {
            return Err(Stop::Says(format!("more than {MOST_STEPS} operations")));
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    /// Number of values above the last mark.
    fn above(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Outcome<Value<'a>> {
        let top = self.stack.last().filter(|_| self.above() > 0);
        top.copied()
            .ok_or_else(|| "it pops a value that it never pushed".into())
    }

    fn pop(&mut self) -> Outcome<Value<'a>> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn last(&mut self, count: usize) -> Outcome<Vec<Value<'a>>> {
        if self.above() < count {
            return Err("it pops values that it never pushed".into());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn above_mark(&mut self) -> Outcome<Vec<Value<'a>>> {
        let mark = self
            .marks
            .pop()
            .ok_or("it pops a mark that it never pushed")?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn sequence(&mut self, items: Vec<Value<'a>>, value: fn(usize) -> Value<'a>) {
        self.push(value(self.objects.sequences.len()));
        self.objects.sequences.push(items);
    }

    fn dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) {
        self.push(Value::Dict(self.objects.dicts.len()));
        self.objects.dicts.push(items);
    }

    /// Moves values from the stack into the container beneath them.
    fn fill(&mut self, operation: u8) -> Outcome<()> {
        let items = match operation {
            b'a' => self.last(1)?,
            b's' => self.last(2)?,
            _ => self.above_mark()?,
        };
        match (operation, self.top()?) {
            (b'a' | b'e' | 0x90, Value::List(id)) => self.objects.sequences[id].extend(items),
            (b's' | b'u', Value::Dict(id)) => self.objects.dicts[id].extend(pairs(&items)?),
            (_, other) => {
                return Err(Stop::Says(format!("it fills {}", other.kind())));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Outcome<()> {
        let global = Global::named(module, name).map_err(Stop::Says)?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// The result of a function, derived from the function's meaning. The function is never run.
    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Outcome<Value<'a>> {
        let Value::Tuple(id) = arguments else {
            return Err("the arguments of a function are not a tuple".into());
        };
        let first = self.objects.sequences[id].first().copied();
        let Value::Global(global) = function else {
            return Err(Stop::Says(format!("it calls {}", function.kind())));
        };
        match (global, first) {
            // The first argument of a defaultdict is the function that makes default values.
            (Global::Dict, None | Some(Value::None | Value::Global(_))) => {
                self.objects.dicts.push(Vec::new());
                Ok(Value::Dict(self.objects.dicts.len() - 1))
            }
            (Global::Dict, Some(Value::List(items) | Value::Tuple(items))) => {
                let pairs = self.pairs_of(items)?;
                self.objects.dicts.push(pairs);
                Ok(Value::Dict(self.objects.dicts.len() - 1))
            }
            // A deque starts from an empty tuple and is then filled.
            (Global::Sequence, None | Some(Value::Tuple(_)))
                if first.is_none_or(|first| self.is_empty(first)) =>
            {
                self.objects.sequences.push(Vec::new());
                Ok(Value::List(self.objects.sequences.len() - 1))
            }
            (Global::Dict, Some(same @ Value::Dict(_)))
            | (Global::Sequence, Some(same @ (Value::List(_) | Value::Tuple(_))))
            | (Global::RebuildParameter, Some(same @ Value::Tensor(_))) => Ok(same),
            (Global::RebuildTensor, _) => Ok(Value::Tensor(id)),
            (Global::RebuildFromType, Some(inner)) => match self.objects.sequences[id].get(2) {
                // Only one level of nesting, because more would need recursion.
                Some(&arguments) if inner != function => self.call(inner, arguments),
                _ => Err("a tensor of a type that is not one of torch's".into()),
            },
            (Global::Inert, _) => {
                self.objects.objects.push([arguments, Value::None]);
                Ok(Value::Object(self.objects.objects.len() - 1))
            }
            (Global::Dict, _) => Err("a dict of values that are not pairs".into()),
            (Global::Sequence, _) => Err("a list of a value that is not a list".into()),
            (Global::RebuildParameter | Global::RebuildFromType, _) => {
                Err("a parameter that is not made of a tensor".into())
            }
            (Global::Storage(_), _) => Err("it creates a new storage".into()),
        }
    }

    /// Whether a value is an empty tuple.
    fn is_empty(&self, value: Value<'_>) -> bool {
        matches!(value, Value::Tuple(id) if self.objects.sequences[id].is_empty())
    }

    /// The key-value pairs in a list. Python 2 passes such a list to create a dict.
    fn pairs_of(&mut self, list: usize) -> Outcome<Vec<(Value<'a>, Value<'a>)>> {
        // The same list may be passed often, so each copy is counted by its length.
        self.pay(self.objects.sequences[list].len())?;
        let sequences = &self.objects.sequences;
        let pair = |value: &Value<'a>| match value {
            Value::List(id) | Value::Tuple(id) => match sequences[*id][..] {
                [key, value] => Ok((key, value)),
                _ => Err("an entry of a dict is not a pair".into()),
            },
            _ => Err("an entry of a dict is not a pair".into()),
        };
        sequences[list].iter().map(pair).collect()
    }
}

fn pairs<'a>(items: &[Value<'a>]) -> Outcome<Vec<(Value<'a>, Value<'a>)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".into());
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
