//! The JSON of an inference request, and its tensors.

use std::fmt;

use axum::body::Bytes;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::{IMAGES, LOGITS, VALUES};
use crate::http::json::{Object, decoded};
use crate::http::problem::Problem;
use crate::room::Input;

/// The most strings in a tensor of a request. Each takes memory, however short it is.
const MOST_STRINGS: usize = 1 << 16;

/// An inference request. As the protocol demands, unknown parameters are ignored.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Object<Parameters>>,
    pub(super) inputs: Vec<Object<InputTensor>>,
    #[serde(default)]
    pub(super) outputs: Option<Vec<Object<AskedOutput>>>,
}

/// The parameters of a request.
#[derive(Default, serde::Deserialize)]
pub(super) struct Parameters {
    /// Whether outputs are binary unless they say otherwise.
    #[serde(default)]
    pub(super) binary_data_output: Option<bool>,
}

#[derive(serde::Deserialize)]
pub(super) struct InputTensor {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: Option<Object<InputParameters>>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Default, serde::Deserialize)]
struct InputParameters {
    /// The bytes of the tensor among those after the JSON.
    #[serde(default)]
    binary_data_size: Option<usize>,
    #[serde(default)]
    shared_memory_region: Option<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct AskedOutput {
    name: String,
    #[serde(default)]
    parameters: Option<Object<OutputParameters>>,
}

#[derive(Default, serde::Deserialize)]
struct OutputParameters {
    #[serde(default)]
    binary_data: Option<bool>,
    #[serde(default)]
    classification: Option<u32>,
    #[serde(default)]
    shared_memory_region: Option<String>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Form {
    pub(super) is_binary: bool,
    /// The number of classes of the classification extension; without it, the output is the logits.
    pub(super) classes: Option<u32>,
}

impl Asked {
    /// The form in which the output is wanted.
    ///
    /// # Errors
    /// Status 400 for another output than the logits, and for what is not supported.
    pub(super) fn form(&self) -> Result<Form, Problem> {
        let parameters = self.parameters.as_ref();
        let is_binary = parameters.and_then(|Object(parameters)| parameters.binary_data_output);
        let mut form = Form {
            is_binary: is_binary.unwrap_or(false),
            classes: None,
        };
        let outputs = self.outputs.as_deref().unwrap_or_default();
        if outputs.len() > 1 {
            return Err(Problem::bad_request(format!(
                "{} outputs are requested; expected {LOGITS:?} once",
                outputs.len()
            )));
        }
        let Some(Object(output)) = outputs.first() else {
            return Ok(form);
        };
        if output.name != LOGITS {
            return Err(Problem::bad_request(format!(
                "the output {:?} does not exist; the output is called {LOGITS:?}",
                output.name
            )));
        }
        let Some(Object(parameters)) = &output.parameters else {
            return Ok(form);
        };
        if parameters.shared_memory_region.is_some() {
            return Err(no_shared_memory());
        }
        if parameters.classification == Some(0) {
            return Err(Problem::bad_request(
                "the parameter classification is 0; expected a number of classes from 1",
            ));
        }
        form.is_binary = parameters.binary_data.unwrap_or(form.is_binary);
        form.classes = parameters.classification;
        Ok(form)
    }

    /// The images of the request. `rest` are the bytes after the JSON, and `sides` the height and the width of the
    /// network's images.
    ///
    /// # Errors
    /// Status 400 for anything but one tensor with the right type, shape and number of values.
    pub(super) fn images(self, rest: &Bytes, sides: [u32; 2]) -> Result<Vec<Input>, Problem> {
        let count = self.inputs.len();
        let Ok([Object(tensor)]) = <[Object<InputTensor>; 1]>::try_from(self.inputs) else {
            return Err(Problem::bad_request(format!(
                "the request has {count} inputs; expected one, {VALUES:?} or {IMAGES:?}"
            )));
        };
        match (&*tensor.name, &*tensor.datatype) {
            (VALUES, "FP32") => tensor.values(rest, sides),
            (IMAGES, "BYTES") => tensor.files(rest),
            (VALUES | IMAGES, _) => Err(Problem::bad_request(format!(
                "the input {:?} has the datatype {:?}; expected {}",
                tensor.name,
                tensor.datatype,
                if tensor.name == VALUES {
                    "FP32"
                } else {
                    "BYTES"
                },
            ))),
            _ => Err(Problem::bad_request(format!(
                "the input {:?} does not exist; expected {VALUES:?} (FP32 of normalised values) or {IMAGES:?} (BYTES of image files)",
                tensor.name
            ))),
        }
    }
}

fn no_shared_memory() -> Problem {
    Problem::bad_request("shared memory is not supported; send and receive the data in the body")
}

impl InputTensor {
    fn values(self, rest: &Bytes, sides: [u32; 2]) -> Result<Vec<Input>, Problem> {
        let [height, width] = sides.map(u64::from);
        let &[count @ 1..=u64::MAX, 3, h, w] = &self.shape[..] else {
            return Err(self.wrong_shape(&format!("[n, 3, {height}, {width}] with n from 1")));
        };
        if [h, w] != [height, width] {
            return Err(self.wrong_shape(&format!("[n, 3, {height}, {width}]")));
        }
        let each = 3 * height as usize * width as usize;
        let values = match self.contents(rest)? {
            Contents::Json(Data::Numbers(values)) => values,
            Contents::Json(Data::Files(_)) => {
                return Err(Problem::bad_request(format!(
                    "the data of {VALUES:?} are strings; expected numbers"
                )));
            }
            Contents::Binary(bytes) if bytes.len() % 4 != 0 => {
                return Err(Problem::bad_request(format!(
                    "the binary data of {VALUES:?} have {} bytes; expected 4 for each value",
                    bytes.len()
                )));
            }
            Contents::Binary(bytes) => bytes
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect(),
        };
        if Some(values.len())
            != usize::try_from(count)
                .ok()
                .and_then(|n| n.checked_mul(each))
        {
            return Err(Problem::bad_request(format!(
                "the input {VALUES:?} has {} values; expected {count} × 3 × {height} × {width} by its shape",
                values.len()
            )));
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(Problem::bad_request(format!(
                "value {place} of {VALUES:?} is {}; expected finite numbers",
                values[place]
            )));
        }
        let images = values.chunks_exact(each);
        Ok(images.map(|image| Input::Tensor(image.to_vec())).collect())
    }

    fn files(self, rest: &Bytes) -> Result<Vec<Input>, Problem> {
        let &[count @ 1..=u64::MAX] = &self.shape[..] else {
            return Err(self.wrong_shape("[n] with n from 1"));
        };
        let files = match self.contents(rest)? {
            Contents::Json(Data::Files(files)) => files,
            Contents::Json(Data::Numbers(_)) => {
                return Err(Problem::bad_request(format!(
                    "the data of {IMAGES:?} are numbers; expected image files as strings in base64"
                )));
            }
            Contents::Binary(bytes) => split(&bytes)?,
        };
        if u64::try_from(files.len()) != Ok(count) {
            return Err(Problem::bad_request(format!(
                "the input {IMAGES:?} has {} files; expected {count} by its shape",
                files.len()
            )));
        }
        Ok(files.into_iter().map(Input::Image).collect())
    }

    fn wrong_shape(&self, expected: &str) -> Problem {
        Problem::bad_request(format!(
            "the input {:?} has the shape {:?}; expected {expected}",
            self.name, self.shape
        ))
    }

    /// The data of the only tensor: from the JSON, or all bytes after it.
    fn contents(self, rest: &Bytes) -> Result<Contents, Problem> {
        let parameters = self.parameters.unwrap_or_default().0;
        if parameters.shared_memory_region.is_some() {
            return Err(no_shared_memory());
        }
        let binary = parameters.binary_data_size;
        if rest.len() != binary.unwrap_or(0) {
            return Err(Problem::bad_request(format!(
                "{} bytes follow the JSON; expected {}, by the parameter binary_data_size of the input. \
                 The header Inference-Header-Content-Length has the length of the JSON",
                rest.len(),
                binary.unwrap_or(0)
            )));
        }
        match (self.data, binary) {
            (Some(data), None) => Ok(Contents::Json(data)),
            (None, Some(_)) => Ok(Contents::Binary(rest.clone())),
            (Some(_), Some(_)) => Err(Problem::bad_request(format!(
                "the input {:?} has data in the JSON and binary data; give one of them",
                self.name
            ))),
            (None, None) => Err(Problem::bad_request(format!(
                "the input {:?} has no data; give data in the JSON, or binary data and the parameter binary_data_size",
                self.name
            ))),
        }
    }
}

enum Contents {
    Json(Data),
    Binary(Bytes),
}

/// The elements of binary BYTES: each has its length before it, as 4 bytes in little-endian order.
fn split(bytes: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let (mut files, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = bytes.get(at..at + 4).map(|length| {
            u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize
        });
        let end = length.and_then(|length| (at + 4).checked_add(length));
        let end = end.filter(|&end| end <= bytes.len()).ok_or_else(|| {
            Problem::bad_request(format!(
                "the binary data of {IMAGES:?} end within file {} (byte {at} of {}); expected for each file its length as 4 bytes in little-endian order, then its bytes",
                files.len(),
                bytes.len()
            ))
        })?;
        if files.len() == MOST_STRINGS {
            return Err(Problem::bad_request(too_many()));
        }
        files.push(bytes.slice(at + 4..end));
        at = end;
    }
    Ok(files)
}

fn too_many() -> String {
    format!("a tensor has more than {MOST_STRINGS} files; send fewer in one request")
}

/// The data of a tensor in JSON: row by row, flat or as nested lists.
#[derive(Debug)]
enum Data {
    Numbers(Vec<f32>),
    /// Image files, from base64.
    Files(Vec<Bytes>),
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut numbers, mut files) = (Vec::new(), Vec::new());
        deserializer.deserialize_seq(List(&mut numbers, &mut files))?;
        match (numbers.is_empty(), files.is_empty()) {
            (_, true) => Ok(Self::Numbers(numbers)),
            (true, false) => Ok(Self::Files(files)),
            (false, false) => Err(D::Error::custom("data has both numbers and strings")),
        }
    }
}

/// Collects the elements of a list and of the lists within it.
struct List<'a>(&'a mut Vec<f32>, &'a mut Vec<Bytes>);

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, of strings in base64, or of such lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element(self.0, self.1))?.is_some() {}
        Ok(())
    }
}

struct Element<'a>(&'a mut Vec<f32>, &'a mut Vec<Bytes>);

impl<'de> serde::de::DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a string in base64, or a list of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        List(self.0, self.1).visit_seq(list)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.push(number as f32);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.1.len() == MOST_STRINGS {
            return Err(E::custom(too_many()));
        }
        self.1.push(decoded(text).map_err(E::custom)?);
        Ok(())
    }
}
