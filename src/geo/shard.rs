//! A shard: the tiles of one 0.7° cell and the R-tree over their loose boxes.
//!
//! Only the slow path comes here: a slot that enters or leaves a tile. The caller holds the shard's
//! write lock; slot locks are taken under it, never the other way round.

use std::collections::HashMap;

use rstar::{ParentNode, RTree};

use crate::fixed::Fixed;
use crate::scale::{BASE_LEVEL, JOIN_MAX, MAX_LEVEL, TILE_MAX};
use crate::slot::Slots;
use crate::tile::{TileBox, TileKey};

/// A place of the quadtree: a tile, or split into four, or both while some members of a split tile
/// sit in its loose border and fit none of the four. Those leave when they next cross a border.
#[derive(Clone, Copy, Default)]
struct Node {
    tile: Option<u32>,
    split: bool,
}

#[derive(Default)]
pub(crate) struct Shard {
    tree: RTree<TileBox>,
    nodes: HashMap<TileKey, Node>,
    tiles: Vec<Vec<u32>>,
    free: Vec<u32>,
}

impl Shard {
    pub(crate) fn root(&self) -> &ParentNode<TileBox> {
        self.tree.root()
    }

    pub(crate) fn members(&self, tile: u32) -> &[u32] {
        &self.tiles[tile as usize]
    }

    /// Puts the slot where its place belongs and says where that is.
    pub(crate) fn insert(&mut self, slot: u32, at: Fixed) -> TileKey {
        let key = self.leaf(at);
        self.join_tile(slot, key);
        key
    }

    /// Takes the slot out of its tile.
    pub(crate) fn remove(&mut self, slot: u32, key: TileKey) {
        let tile = self.nodes.get(&key).and_then(|node| node.tile);
        let tile = tile.expect("a slot's home is a tile of its shard");
        let members = &mut self.tiles[tile as usize];
        let place = members.iter().position(|member| *member == slot);
        members.swap_remove(place.expect("a slot is in its home tile"));
        if members.is_empty() {
            self.drop_tile(key, tile);
        }
    }

    /// Splits the tile, and what comes of it, until none holds too many.
    pub(crate) fn split_where_full(&mut self, key: TileKey, slots: &Slots) {
        if key.level() < MAX_LEVEL && self.size(key) > TILE_MAX && !self.is_split(key) {
            self.split(key, slots);
            for child in key.children() {
                self.split_where_full(child, slots);
            }
        }
    }

    /// Joins sisters upwards from where a slot has left.
    pub(crate) fn join_where_empty(&mut self, key: TileKey, slots: &Slots) {
        let mut next = if self.is_split(key) { Some(key) } else { key.parent() };
        while let Some(key) = next {
            if !self.join_children(key, slots) {
                return;
            }
            next = key.parent();
        }
    }

    fn leaf(&self, at: Fixed) -> TileKey {
        let mut level = BASE_LEVEL;
        loop {
            let key = TileKey::of(at, level);
            if !self.is_split(key) {
                return key;
            }
            level += 1;
        }
    }

    fn is_split(&self, key: TileKey) -> bool {
        self.nodes.get(&key).is_some_and(|node| node.split)
    }

    fn size(&self, key: TileKey) -> usize {
        let tile = self.nodes.get(&key).and_then(|node| node.tile);
        tile.map_or(0, |tile| self.tiles[tile as usize].len())
    }

    fn join_tile(&mut self, slot: u32, key: TileKey) {
        let node = self.nodes.entry(key).or_default();
        let tile = match node.tile {
            Some(tile) => tile,
            None => {
                let tile = self.free.pop().unwrap_or_else(|| {
                    self.tiles.push(Vec::new());
                    u32::try_from(self.tiles.len() - 1).expect("tiles are fewer than slots")
                });
                node.tile = Some(tile);
                self.tree.insert(TileBox { key, tile });
                tile
            }
        };
        self.tiles[tile as usize].push(slot);
    }

    fn drop_tile(&mut self, key: TileKey, tile: u32) {
        self.tree.remove(&TileBox { key, tile });
        self.tiles[tile as usize] = Vec::new();
        self.free.push(tile);
        if let Some(node) = self.nodes.get_mut(&key) {
            node.tile = None;
            if !node.split {
                self.nodes.remove(&key);
            }
        }
    }

    fn split(&mut self, key: TileKey, slots: &Slots) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let Some(tile) = node.tile else { return };
        node.split = true;
        let members = std::mem::take(&mut self.tiles[tile as usize]);
        let mut kept = Vec::new();
        for slot in members {
            let hot = slots.at(slot);
            // The lock stops a move that would be judged by the old tile and land outside the new.
            let held = hot.lock();
            let at = hot.position();
            let child = key.child_towards(at);
            if child.holds(at) {
                hot.set_home(Some(child));
                drop(held);
                self.join_tile(slot, child);
            } else {
                kept.push(slot);
            }
        }
        if kept.is_empty() {
            self.drop_tile(key, tile);
        } else {
            self.tiles[tile as usize] = kept;
        }
    }

    /// Makes one tile of a split node's four when they are few. A child's loose box lies within its
    /// parent's, so every member fits.
    fn join_children(&mut self, key: TileKey, slots: &Slots) -> bool {
        let children = key.children();
        let few = self.is_split(key)
            && !children.iter().any(|child| self.is_split(*child))
            && children.iter().map(|child| self.size(*child)).sum::<usize>() + self.size(key)
                <= JOIN_MAX;
        if !few {
            return false;
        }
        for child in children {
            let Some(tile) = self.nodes.get(&child).and_then(|node| node.tile) else { continue };
            for slot in std::mem::take(&mut self.tiles[tile as usize]) {
                let hot = slots.at(slot);
                let held = hot.lock();
                hot.set_home(Some(key));
                drop(held);
                self.join_tile(slot, key);
            }
            self.drop_tile(child, tile);
        }
        if let Some(node) = self.nodes.get_mut(&key) {
            node.split = false;
            if node.tile.is_none() {
                self.nodes.remove(&key);
            }
        }
        true
    }

    /// What must always hold; for tests.
    #[cfg(test)]
    pub(crate) fn check(&self, slots: &Slots) -> usize {
        let mut seen = 0;
        for boxed in &self.tree {
            let members = self.members(boxed.tile);
            assert!(!members.is_empty(), "an empty tile stays in no tree");
            let node = self.nodes[&boxed.key];
            assert_eq!(node.tile, Some(boxed.tile));
            if !node.split && boxed.key.level() < MAX_LEVEL {
                assert!(members.len() <= TILE_MAX, "{} members", members.len());
            }
            for slot in members {
                let hot = slots.at(*slot);
                assert_eq!(hot.home(), Some(boxed.key), "slot {slot}");
                assert!(boxed.key.holds(hot.position()), "slot {slot} is outside its tile");
            }
            seen += members.len();
        }
        assert_eq!(self.tree.size(), self.nodes.values().filter(|n| n.tile.is_some()).count());
        seen
    }
}
