//! Where what nobody waits for waits for its turn (facts T14): a queue each for notifications and for broadcasts, beside the
//! partitions and claimed like one, by one worker of all.

/// One of the two queues, the more urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bulk {
    Notifications,
    Broadcasts,
}

impl Bulk {
    pub const ALL: [Self; 2] = [Self::Notifications, Self::Broadcasts];

    /// Its number among the partitions, above any that `PARTITIONS` can make. On people's disks: never changed.
    pub fn partition(self) -> u16 {
        match self {
            Self::Notifications => 1001,
            Self::Broadcasts => 1002,
        }
    }

    /// The queue of that number, where it is none of the partitions'.
    pub fn of(partition: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|bulk| bulk.partition() == partition)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notifications => "notifications",
            Self::Broadcasts => "broadcasts",
        }
    }
}
