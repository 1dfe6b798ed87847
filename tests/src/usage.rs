//! What a process takes of the machine, as the kernel counts it.

use crate::process::Process;

impl Process {
    /// The memory that it has now, in MiB (resident).
    #[must_use]
    pub fn memory(&self) -> f64 {
        self.status_of("VmRSS:").expect("it runs")
    }

    /// The most memory that it ever had, in MiB.
    #[must_use]
    pub fn most_memory(&self) -> f64 {
        self.try_most_memory().expect("it runs")
    }

    /// None when it has ended.
    #[must_use]
    pub fn try_most_memory(&self) -> Option<f64> {
        self.status_of("VmHWM:")
    }

    /// The seconds that it has had a processor until now, user and system, of the whole process. In steps of the
    /// kernel's clock, 10 ms.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        // The name before it is in brackets, and may hold spaces.
        let fields = stat.rsplit_once(") ").expect("the kernel says so").1;
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number"));
        ticks.sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
    }

    fn status_of(&self, field: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024.0)
    }
}
