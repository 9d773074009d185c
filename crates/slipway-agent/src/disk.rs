//! Whether what the sandbox writes to has room left.

/// Nothing fits any more in less, whatever the size of the file system.
const FREE_BYTES_MIN: u64 = 4 << 20;
/// Or in less than one part in this many.
const FREE_PARTS: u64 = 100;

/// Of the sandbox's root: an overlay says what its writable file system says.
pub(crate) fn is_full() -> bool {
    rustix::fs::statvfs("/").is_ok_and(|stat| {
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        let total_bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
        let no_inode = stat.f_files > 0 && stat.f_favail == 0;
        no_inode || free_bytes < FREE_BYTES_MIN.max(total_bytes / FREE_PARTS)
    })
}
