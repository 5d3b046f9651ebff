//! A reader of pickles that runs nothing: a stack of values from a closed set.

use super::fault::Fault;
use super::operands::{Operands, Outcome, Stop};
use super::value::{Global, Objects, Value};

/// Most operations in a pickle, and so most values it can make. A checkpoint of a thousand
/// tensors with the state of its optimizer has a quarter of a million.
const MOST_STEPS: usize = 1 << 21;

/// A pickle that has been read to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// The object it holds.
    pub(super) object: Value<'a>,
    /// Everything in that.
    pub(super) objects: Objects<'a>,
    /// Bytes it takes.
    pub(super) len: usize,
}

/// Reads the pickle that `bytes` begin with. Places in its errors count from there.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        operands: Operands::new(bytes),
        steps: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        memoized: 0,
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
    /// How high the stack was at each open mark.
    marks: Vec<usize>,
    /// By place, which those who write pickles count from 0 or 1.
    memo: Vec<Option<Value<'a>>>,
    /// How many places of the memo are taken.
    memoized: usize,
    objects: Objects<'a>,
}

impl<'a> Machine<'a> {
    /// Does one operation; the last one gives the object.
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
            // How many bytes follow helps only those who read from a stream.
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
            b']' => self.sequence(Vec::new(), Value::List),
            b')' => self.sequence(Vec::new(), Value::Tuple),
            b'l' => {
                let items = self.above_mark()?;
                self.sequence(items, Value::List);
            }
            b't' => {
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
            b'a' | b'e' | b's' | b'u' => self.fill(operation)?,
            b'q' | b'r' | b'p' | 0x94 => {
                let place = match operation {
                    b'q' => self.operands.array::<1>()?[0].into(),
                    b'r' => u32::from_le_bytes(self.operands.array()?).into(),
                    b'p' => self.operands.place()?,
                    _ => self.memoized as u64,
                };
                let value = self.top()?;
                self.memoize(place, value)?;
            }
            b'h' | b'j' | b'g' => {
                let place = match operation {
                    b'h' => self.operands.array::<1>()?[0].into(),
                    b'j' => u32::from_le_bytes(self.operands.array()?).into(),
                    _ => self.operands.place()?,
                };
                let place = usize::try_from(place).ok();
                let value = place.and_then(|place| *self.memo.get(place)?);
                self.push(value.ok_or("it takes from its memo what it never put there")?);
            }
            b'c' => {
                let (module, name) = (self.operands.line()?, self.operands.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.last(2)?;
                let (Value::Text(module), Value::Text(name)) = (names[0], names[1]) else {
                    return Err("the name of a function or type is no text".into());
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments)?;
                self.push(value);
            }
            b'b' => {
                // The state of a dict or a parameter says nothing of its tensors.
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let Value::Tuple(id) = self.pop()? else {
                    return Err("a persistent id is no tuple".into());
                };
                self.objects.storages.push(id);
                self.push(Value::Storage(id));
            }
            b'0' => {
                // Where nothing lies above a mark, it is the mark that goes.
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

    fn memoize(&mut self, place: u64, value: Value<'a>) -> Outcome<()> {
        let place = usize::try_from(place)
            .ok()
            .filter(|place| *place <= MOST_STEPS);
        let place = place.ok_or("a place in the memo beyond all operations")?;
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        if self.memo[place].replace(value).is_none() {
            self.memoized += 1;
        }
        Ok(())
    }

    /// How many values lie above the last mark.
    fn above(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Outcome<Value<'a>> {
        let top = self.stack.last().filter(|_| self.above() > 0);
        top.copied()
            .ok_or_else(|| "it takes a value it never made".into())
    }

    fn pop(&mut self) -> Outcome<Value<'a>> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn last(&mut self, count: usize) -> Outcome<Vec<Value<'a>>> {
        if self.above() < count {
            return Err("it takes values it never made".into());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn above_mark(&mut self) -> Outcome<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or("there is no mark to go back to")?;
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

    /// Puts values from the stack into the container beneath them.
    fn fill(&mut self, operation: u8) -> Outcome<()> {
        let items = match operation {
            b'a' => self.last(1)?,
            b's' => self.last(2)?,
            _ => self.above_mark()?,
        };
        match (operation, self.top()?) {
            (b'a' | b'e', Value::List(id)) => self.objects.sequences[id].extend(items),
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

    /// What a function would give; none is ever run.
    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Outcome<Value<'a>> {
        let Value::Tuple(id) = arguments else {
            return Err("the arguments of a function are no tuple".into());
        };
        let first = self.objects.sequences[id].first().copied();
        match (function, first) {
            (Value::Global(Global::OrderedDict), _) => {
                let items = match first {
                    None => Vec::new(),
                    Some(Value::List(items)) => self.pairs_of(items)?,
                    Some(_) => return Err("an OrderedDict of something else than pairs".into()),
                };
                self.objects.dicts.push(items);
                Ok(Value::Dict(self.objects.dicts.len() - 1))
            }
            (Value::Global(Global::RebuildTensor), _) => Ok(Value::Tensor(id)),
            (Value::Global(Global::RebuildParameter), Some(tensor @ Value::Tensor(_)))
            | (Value::Global(Global::Size), Some(tensor @ Value::Tuple(_))) => Ok(tensor),
            (Value::Global(Global::Namespace), _) => Ok(Value::Opaque),
            (other, _) => Err(Stop::Says(format!("it calls {} with that", other.kind()))),
        }
    }

    /// The pairs of a list, as Python 2 gives them to an OrderedDict.
    fn pairs_of(&mut self, list: usize) -> Outcome<Vec<(Value<'a>, Value<'a>)>> {
        // One list may be given often; each copy costs its length.
        self.pay(self.objects.sequences[list].len())?;
        let sequences = &self.objects.sequences;
        let pair = |value: &Value<'a>| match value {
            Value::List(id) | Value::Tuple(id) => match sequences[*id][..] {
                [key, value] => Ok((key, value)),
                _ => Err("an entry of a dict is no pair".into()),
            },
            _ => Err("an entry of a dict is no pair".into()),
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
