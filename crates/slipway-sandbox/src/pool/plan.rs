//! Which blanks are to stand ready, from what was asked for. Pure.

use crate::driver::machine;
use crate::home::BootDriver;
use crate::spec::SandboxSpec;
use slipway_types::settings::{ByteSize, ResourceLimits};

const MIB: u64 = 1 << 20;
/// What an idle container keeps: its agent and its shim, measured, with room.
const CONTAINER_BYTES: u64 = 8 * MIB;
/// What an idle machine keeps beside its memory's own tables: what its kernel touched, its monitor, its shim. Measured, with room.
const MACHINE_BYTES: u64 = 128 * MIB;
/// QEMU translates into memory of its own.
const TRANSLATION_BYTES: u64 = 128 * MIB;
/// A machine's kernel keeps 64 bytes for each page of 4096.
const TABLES_PART: u64 = 64;
/// Sizes that are remembered. A server builds with one or two and runs services of a few.
pub(super) const SHAPES_MAX: usize = 8;

/// What cannot be changed in a sandbox that is booted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Of a machine's tasks, in bytes. A container's are limited when it is claimed.
    memory: u64,
    processors: u32,
}

impl Shape {
    pub(super) const CONTAINER: Self = Self { memory: 0, processors: 0 };

    /// None: no blank can become it.
    pub(super) fn of(driver: &BootDriver, spec: &SandboxSpec) -> Option<Self> {
        let limits = &spec.limits;
        match driver {
            BootDriver::Oci => Some(Self::CONTAINER),
            BootDriver::Qemu(_) | BootDriver::Firecracker(_) => {
                let fits = spec.layers.len() <= machine::LAYER_PLACES;
                let processors = machine::processors(limits);
                fits.then_some(Self { memory: limits.memory.0, processors })
            }
        }
    }

    /// Of a sandbox of this shape, until somebody claims it.
    pub(super) fn limits(self) -> ResourceLimits {
        let (memory, cpus) = (ByteSize(self.memory), f64::from(self.processors.max(1)));
        ResourceLimits { memory, cpus, processes_max: 1, disk: ByteSize(0) }
    }

    /// What one takes of the host's memory while it is idle.
    fn idle_bytes(self, driver: &BootDriver) -> u64 {
        match driver {
            BootDriver::Oci => CONTAINER_BYTES,
            BootDriver::Qemu(programs) if !programs.kvm => {
                MACHINE_BYTES + TRANSLATION_BYTES + self.memory / TABLES_PART
            }
            BootDriver::Qemu(_) | BootDriver::Firecracker(_) => MACHINE_BYTES + self.memory / TABLES_PART,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) boot: Vec<Shape>,
    pub(super) remove: Vec<Shape>,
}

/// `asked`: what was asked for, the latest first. Of each shape `idle` are to stand ready, as far as the memory goes: what was not asked
/// for the longest goes without.
pub(super) fn plan(asked: &[Shape], standing: &[Shape], idle: u32, memory_bytes: u64, driver: &BootDriver) -> Plan {
    let mut left = memory_bytes;
    let mut plan = Plan::default();
    let mut known = Vec::new();
    for shape in asked {
        let bytes = shape.idle_bytes(driver);
        let wanted = u64::from(idle).min(left / bytes);
        left -= wanted * bytes;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let there = standing.iter().filter(|other| *other == shape).count();
        plan.boot.extend(std::iter::repeat_n(*shape, wanted.saturating_sub(there)));
        plan.remove.extend(std::iter::repeat_n(*shape, there.saturating_sub(wanted)));
        known.push(*shape);
    }
    plan.remove.extend(standing.iter().filter(|shape| !known.contains(shape)));
    plan
}

/// Notes that one of this shape was asked for.
pub(super) fn ask(asked: &mut Vec<Shape>, shape: Shape) {
    asked.retain(|other| *other != shape);
    asked.insert(0, shape);
    asked.truncate(SHAPES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { memory: 512 * MIB, processors: 1 };
    const LARGE: Shape = Shape { memory: 2048 * MIB, processors: 2 };

    fn machine() -> BootDriver {
        let text = r#"{"qemu":{"qemu":"","vsock":"","guest":{"kernel":"","initramfs":""},"kvm":true}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn planned(asked: &[Shape], standing: &[Shape], idle: u32, memory_bytes: u64) -> (Vec<Shape>, Vec<Shape>) {
        let plan = plan(asked, standing, idle, memory_bytes, &machine());
        (plan.boot, plan.remove)
    }

    #[test]
    fn so_many_of_each_shape_stand_ready() {
        let much = 100 << 30;
        assert_eq!(planned(&[], &[], 2, much), (vec![], vec![]));
        assert_eq!(planned(&[SMALL, LARGE], &[SMALL], 2, much), (vec![SMALL, LARGE, LARGE], vec![]));
        assert_eq!(planned(&[SMALL], &[SMALL, SMALL], 1, much), (vec![], vec![SMALL]));
        assert_eq!(planned(&[SMALL, LARGE], &[SMALL, LARGE], 0, much), (vec![], vec![SMALL, LARGE]));
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let one = MACHINE_BYTES + 8 * MIB;
        assert_eq!(planned(&[SMALL, LARGE], &[LARGE], 1, one), (vec![SMALL], vec![LARGE]));
        assert_eq!(
            planned(&[LARGE, SMALL], &[LARGE], 1, one),
            (vec![SMALL], vec![LARGE]),
            "the large one does not fit"
        );
        assert_eq!(planned(&[SMALL], &[LARGE], 1, one), (vec![SMALL], vec![LARGE]), "forgotten");
        let mut asked = vec![SMALL, LARGE];
        ask(&mut asked, LARGE);
        assert_eq!(asked, [LARGE, SMALL]);
        for processors in 0..20 {
            ask(&mut asked, Shape { memory: 1, processors });
        }
        assert_eq!(asked.len(), SHAPES_MAX);
    }
}
