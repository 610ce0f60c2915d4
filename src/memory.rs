//! How much memory there is, and what things take of it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A number of bytes, written as people do: `8GiB`, `500MB`, `1.5G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no size: expected a number and a unit, as in 8GiB, 500MB or 1.5G (binary: KiB, MiB, GiB, TiB, or K, M, G, T; decimal: KB, MB, GB, TB)"
)]
pub struct NotASize {
    text: String,
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Size, NotASize> {
        let wrong = || NotASize { text: text.to_owned() };
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(unit_at);
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let unit = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1u64 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let bytes = number * unit as f64;
        // Finite and positive; what is beyond 64 bits is as good as no limit.
        if bytes >= 1.0 { Ok(Size(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(f, "{:.1} {name}", self.0 as f64 / unit as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// What this process may use before the system would have to swap or kill: the least of the memory that the machine says is
/// available and what is left of the limits of the process's control groups. None where the system does not say.
pub fn available() -> Option<Size> {
    let machine = meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")?;
    Some(Size(groups_leave().unwrap_or(u64::MAX).min(machine)))
}

/// What this process holds now. None where the system does not say.
pub fn resident() -> Option<Size> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    meminfo(&status, "VmRSS").map(Size)
}

/// A line of `/proc/meminfo` or `/proc/self/status`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// What the control groups of this process leave, of the second version and of the first.
fn groups_leave() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let roots = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?.trim_start_matches('/'));
        match (number, controllers) {
            ("0", "") => Some((Path::new("/sys/fs/cgroup"), path, "memory.max", "memory.current")),
            (_, "memory") => {
                Some((Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes", "memory.usage_in_bytes"))
            }
            _ => None,
        }
    });
    let read = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut least = None;
    for (root, path, limit, usage) in roots {
        // A limit holds for all that is below it; in a container the own path may not be there, and the root is its own.
        let folder = root.join(path);
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
            if let Some(limit) = read(&folder.join(limit)) {
                // Pages of files are given back before anything is killed, so only what is held otherwise counts as used.
                let files = std::fs::read_to_string(folder.join("memory.stat")).ok();
                let files = files.as_deref().and_then(file_pages).unwrap_or(0);
                let used = read(&folder.join(usage)).unwrap_or(0).saturating_sub(files);
                let left = limit.saturating_sub(used);
                least = Some(least.unwrap_or(u64::MAX).min(left));
            }
        }
    }
    least
}

/// Bytes of files that a control group's `memory.stat` counts.
fn file_pages(stat: &str) -> Option<u64> {
    let line =
        stat.lines().find_map(|line| line.strip_prefix("file ").or_else(|| line.strip_prefix("total_cache ")))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_do() {
        for (text, bytes) in [("8GiB", 8u64 << 30), ("1.5 g", 3 << 29), ("500MB", 500_000_000), ("4096", 4096)] {
            assert_eq!(text.parse::<Size>().expect("a size"), Size(bytes), "{text}");
        }
        for text in ["", "GiB", "8 apples", "-1G", "0", "NaNG"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Size(12).to_string(), "12 B");
    }

    #[test]
    fn the_system_says_what_is_available_and_what_files_take() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(meminfo(text, "MemAvailable"), Some(20_000_000 << 10));
        assert_eq!(meminfo(text, "Swap"), None);
        assert_eq!(file_pages("anon 5\nfile 4096\nkernel 1\n"), Some(4096));
        if cfg!(target_os = "linux") {
            assert!(available().is_some_and(|size| size.0 > 0) && resident().is_some_and(|size| size.0 > 1 << 20));
        }
    }
}
