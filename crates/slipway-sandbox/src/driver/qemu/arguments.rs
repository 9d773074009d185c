//! QEMU's command line. All that it opens are descriptors: its user may open no file of ours.

use crate::driver::machine::Disk;
use crate::network::Slot;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use slipway_types::agent::CHECK_TIMER_VARIABLE;
use std::os::fd::AsRawFd;

/// Translated code that is kept. The default is an eighth of the host's memory.
const TRANSLATED_MIB: u32 = 128;
/// Of the kernel: end the machine for a reboot or a panic, say little, and do not try each cipher: a quarter of a translated boot.
const KERNEL_WORDS: &str = "console=ttyS0 reboot=t panic=-1 quiet loglevel=4 8250.nr_uarts=1 audit=0 cryptomgr.notests";
/// No defence against a processor that is not there. The counter is the host's: a machine that waits for its turn on a busy host
/// sees it jump ahead, and must not take it for broken.
const TRANSLATED_WORDS: &str = "mitigations=off tsc=reliable";
/// On the bus: place 0 is the bus' own.
const FIRST_PLACE: usize = 1;

#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) kernel: OwnedFd,
    pub(super) initramfs: OwnedFd,
    pub(super) disks: Vec<Disk>,
    pub(super) tap: OwnedFd,
    /// Connected to the vsock device.
    pub(super) control: OwnedFd,
    /// By which disks are changed; only a blank has one.
    pub(super) monitor: Option<OwnedFd>,
    pub(super) memory_mib: u64,
    pub(super) processors: u32,
    pub(super) slot: &'a Slot,
    pub(super) kvm: bool,
    /// Of the processor's time stamp counter, where the kernel has nothing to measure it by.
    pub(super) counter_khz: Option<u64>,
}

impl Parts<'_> {
    /// What QEMU inherits.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let others = [&self.kernel, &self.initramfs, &self.tap, &self.control];
        let disks = self.disks.iter().map(|disk| &disk.file);
        others.into_iter().chain(disks).chain(&self.monitor).map(AsFd::as_fd).collect()
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        // PCI, because the machine's own bus has eight places, or interrupts that get lost under translation.
        let mut add = |name: &str, value: String| words.extend([format!("-{name}"), value]);
        let parts = "acpi=on,pcie=on,rtc=on,pic=off,pit=off,ioapic2=off,isa-serial=on,memory-backend=memory";
        add("machine", format!("microvm,{parts}"));
        add("accel", if self.kvm { "kvm".to_owned() } else { format!("tcg,thread=multi,tb-size={TRANSLATED_MIB}") });
        add("cpu", if self.kvm { "host" } else { "max" }.to_owned());
        add("smp", self.processor_words());
        add("m", format!("{}M", self.memory_mib));
        // Shared: the vsock device reads and writes the guest's queues itself.
        add("object", format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory_mib));
        add("kernel", by_number(&self.kernel));
        add("initrd", by_number(&self.initramfs));
        add("append", self.kernel_words());
        add("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
        add("display", "none".to_owned());
        // The console: bounded by who reads it.
        add("chardev", "stdio,id=console,signal=off".to_owned());
        add("serial", "chardev:console".to_owned());
        for (place, disk) in self.disks.iter().enumerate() {
            add("add-fd", format!("fd={},set={place}", disk.file.as_raw_fd()));
            add("blockdev", blockdev(place, disk));
            // The kernel names disks in the order of their places.
            add("device", format!("virtio-blk-pci,drive=disk{place},num-queues=1,{}", at(place)));
        }
        let next = self.disks.len();
        add("netdev", format!("tap,id=network,fd={},vhost=off", self.tap.as_raw_fd()));
        let mac = mac(self.slot);
        add("device", format!("virtio-net-pci,netdev=network,mac={mac},romfile=,{}", at(next)));
        add("chardev", format!("socket,id=vsock,fd={}", self.control.as_raw_fd()));
        add("device", format!("vhost-user-vsock-pci,chardev=vsock,{}", at(next + 1)));
        if let Some(monitor) = &self.monitor {
            add("chardev", format!("socket,id=monitor,fd={}", monitor.as_raw_fd()));
            add("mon", "chardev=monitor,mode=control".to_owned());
        }
        words.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
        words
    }

    /// Translation drops the memory barriers of a machine that can only ever have one processor, but its devices run beside it: the
    /// kernel's "do you want to be told" is then read too early, and a disk or socket waits for ever. Room for a second processor,
    /// which there never is, keeps the barriers.
    fn processor_words(&self) -> String {
        match self.processors {
            1 if !self.kvm => "cpus=1,maxcpus=2".to_owned(),
            count => count.to_string(),
        }
    }

    fn kernel_words(&self) -> String {
        let mut words = KERNEL_WORDS.to_owned();
        if !self.kvm {
            words.push_str(&format!(" {TRANSLATED_WORDS} {CHECK_TIMER_VARIABLE}=1"));
        }
        if let Some(khz) = self.counter_khz {
            words.push_str(&format!(" tsc_early_khz={khz}"));
        }
        words
    }
}

fn at(place: usize) -> String {
    format!("addr={:#x},disable-legacy=on", FIRST_PLACE + place)
}

/// Its user may read the file, not walk the directories to it.
fn by_number(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The host's page cache holds each layer once for all machines. What a guest asks to be flushed is not: what is kept of an image
/// is synced when it is published.
/// [`super::monitor`] says the same of the image that takes a disk's place.
fn blockdev(place: usize, disk: &Disk) -> String {
    let read_only = if disk.read_only { "on" } else { "off" };
    format!(
        "driver=raw,node-name=disk{place},read-only={read_only},discard=unmap,cache.no-flush=on,file.driver=file,\
         file.filename=/dev/fdset/{place},file.locking=off,file.aio=threads,file.discard=unmap"
    )
}

/// Of the slot's address, in the range for private use.
fn mac(slot: &Slot) -> String {
    let [a, b, c, d] = slot.guest.octets();
    format!("02:51:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
