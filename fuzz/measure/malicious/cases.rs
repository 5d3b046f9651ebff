//! Malicious files that take as much time or memory as possible.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::assemble::{Tensor, dict, legacy, of_six, text, whole};

/// The name of a file, and the function that writes it.
type Case = (&'static str, fn(&Path) -> io::Result<()>);

/// Slightly more than the number of operations that a reader accepts.
const MANY: usize = (2 << 20) + 1000;

/// Slightly more than the length of a pickle that a reader accepts.
const LONG: usize = 65 << 20;

pub(crate) const CASES: [Case; 35] = [
    ("operations: None", |p| pickle(p, &[b'N'; MANY])),
    ("operations: lists", |p| pickle(p, &[b']'; MANY])),
    ("operations: dicts", |p| {
        pickle(p, &b"}NNs".repeat(MANY / 4))
    }),
    ("operations: lists of one", |p| {
        pickle(p, &b"]Na".repeat(MANY / 3))
    }),
    ("operations: tuples in tuples", |p| {
        pickle(p, &[b")", &[0x85; MANY][..]].concat())
    }),
    ("operations: marks", |p| pickle(p, &[b'('; MANY])),
    ("operations: objects", |p| {
        pickle(
            p,
            &[
                b"cargparse\nNamespace\nq\x00)",
                &b"h\x00)R".repeat(MANY / 3)[..],
            ]
            .concat(),
        )
    }),
    ("operations: memo", |p| {
        pickle(p, &[b"N", &[0x94; MANY][..]].concat())
    }),
    ("operations: dicts in a zip file", |p| {
        zipped(p, &b"}NNs".repeat(MANY / 4))
    }),
    ("five pickles of many operations", |p| {
        let half = [&[b'N'; MANY / 2][..], b"."].concat();
        let start = of_six(b"")[..14].to_vec();
        std::fs::write(
            p,
            [&start[..], b"\x80\x02M\xe9\x03.", &half.repeat(4)].concat(),
        )
    }),
    ("a line without end", |p| pickle(p, &[b'I'; LONG])),
    ("many long lines", |p| {
        let line = [b"I", &[b'7'; 1 << 16][..], b"\n"].concat();
        pickle(p, &line.repeat(1000))
    }),
    ("names that are not known", |p| {
        pickle(p, &[b"c", &[b'x'; LONG / 2][..], b"\ny\n"].concat())
    }),
    ("a text longer than the file", |p| {
        pickle(p, b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f")?;
        File::options().write(true).open(p)?.set_len(1 << 40)
    }),
    ("dicts in dicts", |p| {
        pickle(
            p,
            &[&b"}N".repeat(MANY / 4)[..], b"}", &b"s".repeat(MANY / 4)].concat(),
        )
    }),
    ("lists in lists", |p| {
        let lists = [&[b']'; MANY / 3][..], &[b'a'; MANY / 3 - 1]].concat();
        pickle(p, &dict(&[("a", lists), ("b", Tensor::SIX.pickled())]))
    }),
    ("dicts twice in dicts", |p| pickle(p, &twice(50))),
    ("lists ten times in lists", |p| pickle(p, &tenfold(150))),
    ("a long name found often", |p| {
        let mut often = [b"}q\x00", &text(&"x".repeat(1 << 20))[..], b"}", &text("a")].concat();
        often.extend([&Tensor::SIX.pickled()[..], b"ss0}"].concat());
        often.extend((0..1000).flat_map(|i| [&whole(i)[..], b"h\x00s"].concat()));
        pickle(p, &often)
    }),
    ("the pairs of a list, often", |p| {
        let list = [b"](", &b"NN\x86".repeat(1000)[..], b"e\x85q\x00"].concat();
        pickle(
            p,
            &[
                &list[..],
                &b"ccollections\nOrderedDict\nh\x00R".repeat(10_000),
            ]
            .concat(),
        )
    }),
    ("one tensor under many names", |p| {
        let mut dict = [&Tensor::SIX.pickled()[..], b"q\x000}("].concat();
        dict.extend((0..300_000).flat_map(|i| [&whole(i)[..], b"h\x00"].concat()));
        pickle(p, &[&dict[..], b"u"].concat())
    }),
    ("a tensor spread over a quarter of a gigabyte", |p| {
        let len = 30 << 20;
        let tensor = Tensor {
            len,
            shape: &[2],
            strides: &[len - 1],
            ..Tensor::SIX
        };
        let mut file = legacy(&dict(&[("a", tensor.pickled())]), &[("0", &[])]);
        let at = file.len() - 8;
        file[at..].copy_from_slice(&len.to_le_bytes());
        std::fs::write(p, &file)?;
        File::options()
            .write(true)
            .open(p)?
            .set_len(file.len() as u64 + 4 * len as u64)
    }),
    ("many storages of one zip file", |p| {
        let count = 40_000;
        let mut pickle =
            b"ctorch._utils\n_rebuild_tensor_v2\nq\x00ctorch\nFloatStorage\nq\x01".to_vec();
        pickle.extend([&text("storage")[..], b"q\x02", b"}("].concat());
        for i in 0..count {
            let key = text(&i.to_string());
            let tensor = [
                &key[..],
                b"h\x00(",
                b"(h\x02h\x01",
                &key,
                b"NK\x01tQK\x00))tR",
            ]
            .concat();
            pickle.extend(tensor);
        }
        pickle.extend(b"u.");
        let names: Vec<String> = (0..count).map(|i| format!("a/data/{i}")).collect();
        let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle)];
        entries.extend(names.iter().map(|name| (name.as_str(), &b"1234"[..])));
        zip(p, &entries)
    }),
    ("as many entries as a zip file may have", |p| {
        let names: Vec<String> = (0..140_000).map(|i| format!("{i}")).collect();
        zip(
            p,
            &names
                .iter()
                .map(|name| (name.as_str(), &b""[..]))
                .collect::<Vec<_>>(),
        )
    }),
    ("a zip file that ends a thousand times", |p| {
        zip(p, &[("a/data.pkl", b"N.")])?;
        let ends = b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\x40\0\0\0\x01\0\0\0\x00\0".repeat(2900);
        File::options().append(true).open(p)?.write_all(&ends)
    }),
    ("safetensors: many tensors", |p| {
        let entry = |i| {
            format!(
                "\"{i}\":{{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[{i},{}]}}",
                i + 1
            )
        };
        header(p, &(0..130_000).map(entry).collect::<Vec<_>>().join(","))
    }),
    ("safetensors: a network behind many prefixes", |p| {
        named(p, (0..80_000).map(|i| format!("{i}.layer1.0.conv1.weight")))
    }),
    ("safetensors: long names of many parts", |p| {
        let parts = "a.".repeat(100);
        named(p, (0..28_000).map(|i| format!("{parts}{i}.fc.weight")))
    }),
    ("safetensors: names of many networks", |p| {
        let modules = [
            "layer1.0.conv1",
            "features.0.0",
            "conv_stem",
            "s1.b1.f.a",
            "stem.0",
        ];
        let leaves = ["weight", "bias", "running_mean", "running_var"];
        named(
            p,
            (0..80_000).map(|i| {
                let (module, leaf) = (modules[i % 5], leaves[i / 5 % 4]);
                format!("m{}.{module}.{leaf}", i / 20)
            }),
        )
    }),
    ("safetensors: many texts", |p| {
        let texts = (0..500_000)
            .map(|i| format!("\"{i}\":\"\""))
            .collect::<Vec<_>>()
            .join(",");
        header(p, &format!("\"__metadata__\":{{{texts}}}"))
    }),
    ("safetensors: many dimensions", |p| {
        let shape = "1,".repeat(4_000_000);
        header(
            p,
            &format!("\"a\":{{\"dtype\":\"U8\",\"shape\":[{shape}1],\"data_offsets\":[0,1]}}"),
        )
    }),
    ("safetensors: arrays in arrays", |p| {
        header(p, &format!("\"a\":{{\"x\":{}", "[".repeat(8_000_000)))
    }),
    ("safetensors: objects in objects", |p| {
        header(p, &"\"a\":{".repeat(1_500_000))
    }),
    ("safetensors: a long type", |p| {
        header(
            p,
            &format!("\"a\":{{\"dtype\":\"{}\"}}", "\\u0041".repeat(1_000_000)),
        )
    }),
    ("safetensors: a header of an exabyte", |p| {
        std::fs::write(p, [&(1_u64 << 60).to_le_bytes()[..], b"{}"].concat())?;
        File::options().write(true).open(p)?.set_len(1 << 42)
    }),
];

/// Writes a file in the format before PyTorch 1.6, with this pickled object.
fn pickle(path: &Path, object: &[u8]) -> io::Result<()> {
    std::fs::write(path, of_six(object))
}

/// Writes a zip file with this pickled object.
fn zipped(path: &Path, object: &[u8]) -> io::Result<()> {
    zip(path, &[("a/data.pkl", &[object, b"."].concat())])
}

/// Writes a zip file with these entries.
fn zip(path: &Path, entries: &[(&str, &[u8])]) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    let (mut directory, mut at) = (Vec::new(), 0_u32);
    for (name, bytes) in entries {
        let len = (bytes.len() as u32).to_le_bytes();
        let named = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date and an unused checksum.
        let common = [
            &[10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0][..],
            &len,
            &len,
            &named,
            &[0; 2],
        ]
        .concat();
        let local = [b"PK\x03\x04", &common[..], name.as_bytes()].concat();
        file.write_all(&local)?;
        file.write_all(bytes)?;
        directory.extend(
            [
                b"PK\x01\x02\x0a\0",
                &common[..],
                &[0; 10],
                &at.to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
        at += (local.len() + bytes.len()) as u32;
    }
    let count = u16::try_from(entries.len())
        .unwrap_or(u16::MAX)
        .to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    file.write_all(&directory)?;
    if entries.len() > usize::from(u16::MAX) {
        let (count, end) = (
            (entries.len() as u64).to_le_bytes(),
            u64::from(at) + directory.len() as u64,
        );
        let size = (directory.len() as u64).to_le_bytes();
        file.write_all(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0")?;
        file.write_all(&[&count[..], &count, &size, &u64::from(at).to_le_bytes()].concat())?;
        file.write_all(&[b"PK\x06\x07\0\0\0\0", &end.to_le_bytes()[..], b"\x01\0\0\0"].concat())?;
    }
    file.write_all(
        &[
            b"PK\x05\x06\0\0\0\0",
            &count[..],
            &count,
            &size,
            &at.to_le_bytes(),
            &[0; 2],
        ]
        .concat(),
    )?;
    file.flush()
}

/// Writes a safetensors file with tensors of these names, of one byte each; the last has the other bytes.
fn named(path: &Path, names: impl Iterator<Item = String>) -> io::Result<()> {
    let mut count = 0;
    let mut entries: Vec<String> = names
        .map(|name| {
            count += 1;
            let (start, end) = (count - 1, count);
            format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[{start},{end}]}}")
        })
        .collect();
    let rest = 130_000 - count;
    entries.push(format!(
        "\"rest\":{{\"dtype\":\"U8\",\"shape\":[{rest}],\"data_offsets\":[{count},130000]}}"
    ));
    header(path, &entries.join(","))
}

/// Writes a safetensors file: a header with these `entries`, and then the data bytes that
/// [`CASES`] need.
fn header(path: &Path, entries: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&(entries.len() as u64 + 2).to_le_bytes())?;
    file.write_all(&[b"{", entries.as_bytes(), b"}"].concat())?;
    let end = file.seek(SeekFrom::End(0))?;
    file.set_len(end + 130_000)
}

/// Nested dicts; each contains the previous one twice.
fn twice(levels: u8) -> Vec<u8> {
    let mut dicts = [&dict(&[("a", Tensor::SIX.pickled())])[..], b"q\x00"].concat();
    for level in 0..levels {
        let twice = dict(&[("a", vec![b'h', level]), ("b", vec![b'h', level])]);
        dicts.extend([&twice[..], &[b'q', level + 1]].concat());
    }
    dicts
}

/// A tensor, and nested lists beside it. Each list contains the previous one ten times.
fn tenfold(levels: u8) -> Vec<u8> {
    let mut lists = b"]q\x000".to_vec();
    for level in 0..levels {
        lists.extend(
            [
                b"](",
                &[b'h', level].repeat(10)[..],
                b"e",
                &[b'q', level + 1],
                b"0",
            ]
            .concat(),
        );
    }
    lists.extend([b'h', levels]);
    dict(&[("a", Tensor::SIX.pickled()), ("b", lists)])
}
