use crate::{Error, Result, host, tensor};

/// Where keys and values lie.
#[derive(Debug)]
pub(crate) enum Store {
    Host(host::Store),
    Tensor(tensor::Store),
}

impl Store {
    /// The host's, if it is.
    pub(crate) fn on_host(&self) -> Result<&host::Store> {
        match self {
            Self::Host(store) => Ok(store),
            Self::Tensor(_) => Err(Error::BackEnd),
        }
    }

    /// The host's, if it is.
    pub(crate) fn on_host_mut(&mut self) -> Result<&mut host::Store> {
        match self {
            Self::Host(store) => Ok(store),
            Self::Tensor(_) => Err(Error::BackEnd),
        }
    }

    /// The device's, if it is.
    pub(crate) fn in_tensors(&self) -> Result<&tensor::Store> {
        match self {
            Self::Tensor(store) => Ok(store),
            Self::Host(_) => Err(Error::BackEnd),
        }
    }

    /// The device's, if it is.
    pub(crate) fn in_tensors_mut(&mut self) -> Result<&mut tensor::Store> {
        match self {
            Self::Tensor(store) => Ok(store),
            Self::Host(_) => Err(Error::BackEnd),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Host(store) => store.bytes(),
            Self::Tensor(store) => store.bytes(),
        }
    }

    /// Makes room for `slots` in all, in whole pages.
    pub(super) fn reserve(&mut self, slots: usize) -> Result<()> {
        match self {
            Self::Host(store) => store.reserve(slots),
            Self::Tensor(store) => return store.reserve(slots),
        }
        Ok(())
    }

    /// A copy of some slots, as [`super::Entries::select`].
    pub(super) fn select(&self, kept: &[Vec<usize>]) -> Result<Self> {
        Ok(match self {
            Self::Host(store) => Self::Host(store.select(kept)),
            Self::Tensor(store) => Self::Tensor(store.select(kept)?),
        })
    }

    /// Moves entries from slot to slot, after which only the first `kept` count.
    ///
    /// # Shapes
    /// - `moves`: per head, from where to where
    pub(super) fn shift(&mut self, moves: &[Vec<(usize, usize)>], kept: usize) -> Result<()> {
        match self {
            Self::Host(store) => store.shift(moves, kept),
            Self::Tensor(store) => return store.shift(moves, kept),
        }
        Ok(())
    }
}
