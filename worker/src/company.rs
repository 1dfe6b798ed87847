//! How many updates may be handled beside one that has been begun before and did not end. Whatever is in
//! hand when a worker dies is blamed for it, so a suspect's company grows smaller with every try, and its
//! last try is made alone: nothing else can then be what takes the worker down.
//!
//! Two rules follow, whatever the schedule and however many poisons there are. A poison update has just
//! its `TRIES`, since each is counted before it is made. An innocent one never dies of them: if its other
//! tries were all lost to a neighbour, its last one has no neighbour, and ends. And since the groups
//! shrink by degrees, hundreds of innocents in hand at a crash are handled by dozens, not one by one: of
//! those beside one poison, few come to be handled alone. The tests below play this out.

use tokio::sync::{Semaphore, SemaphorePermit};

/// After this many tries an update that took its worker down each time is poison (contract 3).
pub const TRIES: u32 = 5;

/// Without the store, tries are the broker's count of returns, which counts the innocent beside it too
/// (facts R7), and lost connections and hand-overs; so there have to be more of them.
pub const RETURNS: u32 = 20;

/// From so many returns on an update is handled without the store only where it is the one update that
/// the broker has handed out of its partition (`claim/turn.rs`).
const BY_ITSELF: u32 = 9;

const MANY: u16 = 32;
const FEW: u16 = 8;

/// Beside how many others an update may be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Company {
    /// Beside whatever else the worker does, and nothing.
    Alone,
    /// Beside no suspect as grave as itself.
    One,
    /// Beside a few of its kind.
    Few,
    Many,
    /// No suspect.
    Any,
}

impl Company {
    /// Of an update that the store knows to have been begun `before` times.
    pub fn after_tries(before: u32) -> Self {
        match before {
            0 => Self::Any,
            1 => Self::Many,
            2 => Self::Few,
            3 => Self::One,
            4 => Self::Alone,
            // It is not handled any more, only buried.
            _ => Self::Any,
        }
    }

    /// Of an update that the broker saw come back so many times, where the store can't be asked. A few times are
    /// nothing: every update in hand comes back when a connection is lost. And as long as all are in hand that came back,
    /// they are put in order; of fewer the lowest may come last (`claim/turn.rs`).
    pub fn after_returns(returns: u32) -> Self {
        match returns {
            0..=5 => Self::Any,
            6..=7 => Self::Many,
            8..BY_ITSELF => Self::Few,
            BY_ITSELF..=11 => Self::One,
            12..RETURNS => Self::Alone,
            // It is not handled any more, only buried.
            _ => Self::One,
        }
    }

    /// Whether it is handled without the store only where it alone is in hand of its partition.
    pub fn has_to_be_by_itself(returns: u32) -> bool {
        returns >= BY_ITSELF
    }

    /// As many as may be in hand of a partition whose first update has this company.
    pub fn in_hand(self, prefetch: u16) -> u16 {
        match self {
            Self::Alone | Self::One => 1,
            Self::Few => FEW.min(prefetch),
            Self::Many => MANY.min(prefetch),
            Self::Any => prefetch,
        }
    }
}

/// Lets updates in by the company that they may have. One per worker.
pub struct Room {
    /// Everything that is handled has a place here; what must be alone takes all.
    floor: Semaphore,
    many: Semaphore,
    few: Semaphore,
    one: Semaphore,
}

/// More than are ever in hand at once, and as many as one permit can count.
const FLOOR: u32 = 1_000_000;

/// A place among what is handled; dropping it gives it back.
pub struct Place<'r> {
    _group: Option<SemaphorePermit<'r>>,
    _floor: Option<SemaphorePermit<'r>>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            floor: Semaphore::new(FLOOR as usize),
            many: Semaphore::new(usize::from(MANY)),
            few: Semaphore::new(usize::from(FEW)),
            one: Semaphore::new(1),
        }
    }
}

impl Room {
    /// Waits for a place. First in, first out; the group always before the floor, and nobody on the floor
    /// waits for a group, so that no two wait for each other.
    pub async fn enter(&self, company: Company) -> Place<'_> {
        let group = match company {
            Company::Alone | Company::One => Some(&self.one),
            Company::Few => Some(&self.few),
            Company::Many => Some(&self.many),
            Company::Any => None,
        };
        // Never closed: an error could only mean that no permit is needed.
        let group = match group {
            Some(group) => group.acquire().await.ok(),
            None => None,
        };
        let places = if company == Company::Alone { FLOOR } else { 1 };
        Place { _group: group, _floor: self.floor.acquire_many(places).await.ok() }
    }
}

#[cfg(test)]
mod tests;
