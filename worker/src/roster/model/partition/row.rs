//! Updates in a set and in a row, small enough to be copied and compared a million times.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(pub u8);

impl Set {
    pub fn first(count: u8) -> Self {
        Self(((1_u16 << count) - 1) as u8)
    }

    pub fn has(self, update: u8) -> bool {
        self.0 & (1 << update) != 0
    }

    pub fn add(&mut self, update: u8) {
        self.0 |= 1 << update;
    }

    pub fn remove(&mut self, update: u8) {
        self.0 &= !(1 << update);
    }

    pub fn len(self) -> u8 {
        self.0.count_ones() as u8
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |update| self.has(*update))
    }
}

/// Updates in a row, four bits each and one more than the number, so that 0 is the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row(pub u32);

impl Row {
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8)
            .map(move |at| (self.0 >> (4 * at)) & 15)
            .take_while(|item| *item > 0)
            .map(|item| item as u8 - 1)
    }

    pub fn len(self) -> u8 {
        self.iter().count() as u8
    }

    pub fn push(&mut self, update: u8) {
        self.0 |= (u32::from(update) + 1) << (4 * u32::from(self.len()));
    }

    pub fn without(self, update: u8) -> Self {
        let mut row = Self::default();
        self.iter().filter(|other| *other != update).for_each(|other| row.push(other));
        row
    }

    pub fn sorted(self) -> Self {
        let (mut set, mut row) = (Set::default(), Self::default());
        self.iter().for_each(|update| set.add(update));
        set.iter().for_each(|update| row.push(update));
        row
    }
}
