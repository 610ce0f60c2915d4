//! Blocks as differences: what differential dataflow adds up.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};

use crate::block::Block;

impl IsZero for Block {
    fn is_zero(&self) -> bool {
        Block::is_zero(self)
    }
}

impl Semigroup for Block {
    fn plus_equals(&mut self, other: &Block) {
        self.add(other);
    }
}

impl Monoid for Block {
    fn zero() -> Block {
        Block::default()
    }
}

impl Abelian for Block {
    fn negate(&mut self) {
        Block::negate(self);
    }
}
