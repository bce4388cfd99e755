//! Slots: what the index keeps per moving thing, 32 bytes, in chunks that never move.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};

use base::Millis;
use parking_lot::{Mutex, MutexGuard};

use crate::fixed::Fixed;
use crate::tile::TileKey;

const NOWHERE: u64 = u64::MAX;
const CHUNK: usize = 4096;

/// One moving thing. The lock guards `home` and `position` together: whoever writes one of them
/// holds it, so a position is always inside the loose box of the home tile. Readers take no lock.
#[repr(align(32))]
pub(crate) struct Slot {
    position: AtomicU64,
    home: AtomicU64,
    heard: AtomicI64,
    class: AtomicU16,
    lock: Mutex<()>,
}

const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    const fn empty() -> Self {
        Self {
            position: AtomicU64::new(0),
            home: AtomicU64::new(NOWHERE),
            heard: AtomicI64::new(i64::MIN),
            class: AtomicU16::new(0),
            lock: Mutex::new(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock()
    }

    pub(crate) fn home(&self) -> Option<TileKey> {
        let bits = self.home.load(Ordering::Acquire);
        (bits != NOWHERE).then(|| TileKey::from_bits(bits))
    }

    pub(crate) fn set_home(&self, key: Option<TileKey>) {
        self.home.store(key.map_or(NOWHERE, TileKey::bits), Ordering::Release);
    }

    pub(crate) fn position(&self) -> Fixed {
        Fixed::unpack(self.position.load(Ordering::Acquire))
    }

    /// Position first: whoever sees the new `heard` sees the new position with it, so an old
    /// position is never taken for a fresh one.
    pub(crate) fn place(&self, at: Fixed, heard: Millis) {
        self.position.store(at.pack(), Ordering::Release);
        self.heard.store(heard.0, Ordering::Release);
    }

    pub(crate) fn heard(&self) -> Millis {
        Millis(self.heard.load(Ordering::Acquire))
    }

    pub(crate) fn class(&self) -> u16 {
        self.class.load(Ordering::Acquire)
    }

    pub(crate) fn set_class(&self, class: u16) {
        self.class.store(class, Ordering::Release);
    }
}

/// All slots, made chunk by chunk when first used.
pub(crate) struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
}

impl Slots {
    pub(crate) fn with_capacity(slots: usize) -> Self {
        Self { chunks: (0..slots.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Makes the slot's chunk when it is the first of it.
    pub(crate) fn at(&self, slot: u32) -> &Slot {
        let chunk = &self.chunks[slot as usize / CHUNK];
        let made = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::empty()).collect());
        &made[slot as usize % CHUNK]
    }
}
