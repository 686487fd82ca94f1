use super::PAGE;
use crate::kernels::Region;
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

    /// No slots, in so many heads of this kind.
    pub(super) fn empty_like(&self, heads: usize) -> Result<Self> {
        Ok(match self {
            Self::Host(store) => Self::Host(store.empty_like(heads)),
            Self::Tensor(store) => Self::Tensor(store.empty_like(heads)?),
        })
    }

    /// Moves stores, of which some slots are in use, to where there is room for so many, side by side in memory. It is taken as it is written to, if the host is
    /// where they stand, or in huge pages if it is expected to be `filled`; a device gives memory only when it is needed.
    pub(super) fn make_room<'a>(
        stores: impl Iterator<Item = (&'a mut Self, usize, usize)>,
        filled: bool,
    ) -> Result<()> {
        let mut on_host: Vec<(&mut host::Store, usize, usize)> = stores
            .filter_map(|(store, slots, room)| match store {
                Self::Host(store) => Some((store, slots, room.next_multiple_of(PAGE))),
                Self::Tensor(_) => None,
            })
            .collect();
        if on_host.is_empty() {
            return Ok(());
        }
        let bytes = on_host.iter().map(|(store, _, room)| store.bytes_of(*room)).sum();
        let mut region = Region::new(bytes, filled).map_err(Error::Memory)?;
        for (store, slots, room) in &mut on_host {
            store.move_to(&mut region, *slots, *room);
        }
        Ok(())
    }

    /// Changes the room for slots, of which some are in use, to `room` or more.
    pub(super) fn resize(&mut self, slots: usize, room: usize) -> Result<()> {
        match self {
            Self::Host(_) => {
                // What is not written to costs nothing.
                let room = self.room().max(room + room / 8);
                Self::make_room([(self, slots, room)].into_iter(), false)
            }
            Self::Tensor(store) => store.resize(slots, room),
        }
    }

    /// Slots that there is room for.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Host(store) => store.room(),
            Self::Tensor(store) => store.room(),
        }
    }

    /// Bytes of so many slots, of all heads.
    pub(super) fn bytes_of(&self, slots: usize) -> usize {
        match self {
            Self::Host(store) => store.bytes_of(slots),
            Self::Tensor(store) => store.bytes_of(slots),
        }
    }

    /// Takes in some slots of a store of the same kind, as [`super::Entries::copies`].
    pub(super) fn copy_from(&mut self, from: &Self, kept: &[Vec<usize>]) -> Result<()> {
        match self {
            Self::Host(store) => store.copy_from(from.on_host()?, kept),
            Self::Tensor(store) => store.copy_from(from.in_tensors()?, kept),
        }
    }

    /// Lays slots out anew; those that are not named go.
    pub(super) fn arrange(&mut self, kept: &[Vec<usize>]) -> Result<()> {
        match self {
            Self::Host(store) => store.arrange(kept),
            Self::Tensor(store) => store.arrange(kept)?,
        }
        Ok(())
    }

    /// Moves entries from slot to slot, after which only the first `kept` count.
    ///
    /// # Shapes
    /// - `moves`: per head, from where to where
    pub(super) fn shift(&mut self, moves: &[Vec<(usize, usize)>], kept: usize) -> Result<()> {
        match self {
            Self::Host(store) => store.shift(moves),
            Self::Tensor(store) => store.shift(moves, kept)?,
        }
        Ok(())
    }
}
