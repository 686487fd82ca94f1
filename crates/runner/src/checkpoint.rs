//! A model's files: one GGUF file, or a folder in Hugging Face's layout.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::folder::{self, Folder};
use crate::gguf::Gguf;
use crate::weights::Source;
use crate::{Config, Error, Result, Tokenizer};

/// Where a model is read from.
#[derive(Debug)]
pub struct Checkpoint(Kind);

#[derive(Debug)]
enum Kind {
    Gguf(PathBuf, Box<Gguf>),
    Folder(Folder),
}

impl Checkpoint {
    /// What a folder holds beside the weights; the first is the one that it must hold.
    pub const SETTINGS: [&str; 5] = folder::SETTINGS;
    /// Where a folder's weights are: in the first, or in files that the second lists.
    pub const WEIGHTS: [&str; 2] = [folder::WEIGHTS, folder::INDEX];

    /// Opens a GGUF file, or a folder that holds at least `config.json`.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Malformed`], naming the file.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self(Kind::Folder(Folder::new(path))));
        }
        Ok(Self(Kind::Gguf(path.to_owned(), Box::new(Gguf::open(path)?))))
    }

    /// The decoder's shape.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and for whatever this decoder does not compute.
    pub fn config(&self) -> Result<Config> {
        match &self.0 {
            Kind::Gguf(_, gguf) => gguf.config(),
            Kind::Folder(folder) => folder.config(),
        }
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; also for a kind that is not read, and for ids that the vocabulary lacks.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match &self.0 {
            Kind::Gguf(_, gguf) => Tokenizer::from_gguf(gguf),
            Kind::Folder(folder) => folder.tokenizer(),
        }
    }

    /// The files with weights that should be there and are not.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], for an index that cannot be read.
    pub fn missing_weights(&self) -> Result<Vec<PathBuf>> {
        let files = match &self.0 {
            Kind::Gguf(..) => Vec::new(),
            Kind::Folder(folder) => folder.weight_files()?,
        };
        Ok(files.into_iter().filter(|path| !path.is_file()).collect())
    }

    /// The file without which there is no tokenizer, if it should be there and is not.
    pub fn missing_tokenizer(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Gguf(..) => None,
            Kind::Folder(folder) => Some(folder.tokenizer_file()).filter(|path| !path.is_file()),
        }
    }

    pub(crate) fn weights(self) -> Result<Box<dyn Source>> {
        Ok(match self.0 {
            Kind::Gguf(_, gguf) => gguf,
            Kind::Folder(folder) => Box::new(folder.weights()?),
        })
    }

    /// SHA-256 of a GGUF file. Of a folder, SHA-256 of its files one after the other: `config.json`, `generation_config.json`,
    /// `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, as far as they are there, then the weights by name; in front of
    /// each its name, a zero, and its length in eight bytes, least first.
    pub(crate) fn sha256(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        match &self.0 {
            Kind::Gguf(path, _) => absorb(&mut hasher, path)?,
            Kind::Folder(folder) => {
                for path in folder.files()? {
                    let length = std::fs::metadata(&path)
                        .map_err(|source| Error::Read { path: path.clone(), source })?
                        .len();
                    hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
                    hasher.update([0]);
                    hasher.update(length.to_le_bytes());
                    absorb(&mut hasher, &path)?;
                }
            }
        }
        Ok(hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }
}

fn absorb(hasher: &mut Sha256, path: &Path) -> Result<()> {
    let read = |source: io::Error| Error::Read { path: path.to_owned(), source };
    io::copy(&mut File::open(path).map_err(read)?, &mut HashWriter(hasher)).map_err(read)?;
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
