//! Tensors of safetensors files, one or many.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::Source;
use crate::kernels::Stored;
use crate::{Error, Result};

/// Bytes in front of a header: its length.
const LENGTH_BYTES: u64 = 8;
/// The longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// Open safetensors files, their headers read and found sane.
#[derive(Debug)]
pub(crate) struct Safetensors {
    /// The one file, or the index of many.
    path: PathBuf,
    files: Vec<Shard>,
    /// Which file holds a tensor.
    places: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where its tensors begin.
    start: u64,
}

impl Safetensors {
    /// Opens one file that holds all tensors.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shard = Shard::open(path)?;
        let places = shard.header.offset_keys().into_iter().map(|name| (name, 0)).collect();
        Ok(Self { path: path.to_owned(), files: vec![shard], places })
    }

    /// Opens the files that an index names, tensor by tensor.
    ///
    /// # Errors
    /// As [`Safetensors::open`], and [`Error::Malformed`] if a file lacks a tensor that the index says it holds.
    pub(crate) fn open_shards(index: &Path, paths: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut opened = BTreeMap::new();
        let mut shards =
            Self { path: index.to_owned(), files: Vec::new(), places: BTreeMap::new() };
        for (name, path) in paths {
            if !opened.contains_key(path) {
                opened.insert(path, shards.files.len());
                shards.files.push(Shard::open(path)?);
            }
            let place = opened[path];
            if shards.files[place].header.info(name).is_none() {
                let index = index.display();
                let reason = format!("is missing, though `{index}` says that it is here");
                return Err(fault(path, name, &reason));
            }
            shards.places.insert(name.clone(), place);
        }
        Ok(shards)
    }

    fn shard(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.files[*self.places.get(name)?];
        Some((shard, shard.header.info(name)?))
    }
}

impl Source for Safetensors {
    fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let Some((shard, info)) = self.shard(name) else { return Ok(None) };
        shard.dtype(name, info)?;
        Ok(Some(info.shape.clone()))
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        match self.shard(name) {
            Some((shard, info)) => shard.tensor(name, info),
            None => Err(self.fault(name, "is missing")),
        }
    }

    fn stored(&mut self, _: &str) -> Result<Option<Stored>> {
        Ok(None)
    }

    fn fault(&self, name: &str, reason: &str) -> Error {
        fault(self.shard(name).map_or(&self.path, |(shard, _)| &shard.path), name, reason)
    }
}

fn fault(path: &Path, name: &str, reason: &str) -> Error {
    Error::Malformed { path: path.to_owned(), reason: format!("tensor `{name}` {reason}") }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut prefix = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut prefix).map_err(|_| {
            malformed(format!("it is {length} bytes long, which is no safetensors file"))
        })?;
        let header = u64::from_le_bytes(prefix);
        if header > LONGEST_HEADER.min(length.saturating_sub(LENGTH_BYTES)) {
            return Err(malformed(format!(
                "a header of {header} bytes does not fit a file of {length}: it is cut short, or no safetensors file"
            )));
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(read)?;
        let header: Metadata = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(format!("its header cannot be read: {error}")))?;
        let start = LENGTH_BYTES + bytes.len() as u64;
        let (wanted, found) = (header.data_len() as u64, length.saturating_sub(start));
        if wanted != found {
            return Err(malformed(format!(
                "its tensors take {wanted} bytes and it holds {found}: it is cut short, or has a tail"
            )));
        }
        Ok(Self { path: path.to_owned(), file, header, start })
    }

    /// How a tensor is stored, if that is read.
    fn dtype(&self, name: &str, info: &TensorInfo) -> Result<DType> {
        match info.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => {
                let reason = format!("is stored as {other}: only F32, F16 and BF16 are read");
                Err(fault(&self.path, name, &reason))
            }
        }
    }

    fn tensor(&self, name: &str, info: &TensorInfo) -> Result<Tensor> {
        let dtype = self.dtype(name, info)?;
        let (begin, end) = info.data_offsets;
        let read = |source| Error::Read { path: self.path.clone(), source };
        let mut bytes = vec![0; end - begin]; // no more than the file holds: opening it checked that
        (&self.file).seek(SeekFrom::Start(self.start + begin as u64)).map_err(read)?;
        (&self.file).read_exact(&mut bytes).map_err(read)?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)?
            .to_dtype(DType::F32)?)
    }
}
