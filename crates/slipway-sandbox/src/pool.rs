//! Blanks: sandboxes that are booted ahead, as far as they can be before it is known what for.
//!
//! A boot claims one of its shape, which is then that sandbox and none of the pool's: nothing that was used comes back. What stands
//! ready follows what was asked for ([`plan`]), is made in the background one at a time, is replaced when it is claimed, dies or grows
//! old, and never outlives the server: each blank's shim holds a pipe from it. Whatever goes wrong here costs a warning and time.

mod plan;

use crate::config::WarmConfig;
use crate::error::SandboxError;
use crate::home::{BootDriver, BootSpec, Home};
use crate::link::{self, Remains};
use crate::reap::reap;
use crate::sandbox::Sandbox;
use crate::spec::{SandboxSpec, WritableSpec};
use crate::start::{Base, ShimProcess, blocking};
use crate::steps::Steps;
use plan::Shape;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// Of the directories of blanks. No sandbox's id begins so.
const PREFIX: &str = ".blank-";
/// How many stand ready where nothing else is configured. A machine takes more of the host than a container.
const CONTAINERS_IDLE: u32 = 2;
const MACHINES_IDLE: u32 = 1;
/// For a container to take its files in: mounts, on a busy disk.
const CLAIM_TIME_MAX: Duration = Duration::from_secs(15);
/// For a machine: its kernel mounts them, without the processor's help.
const MACHINE_CLAIM_TIME_MAX: Duration = Duration::from_secs(45);
/// After a blank that did not boot, died young or could not be claimed, so long none is made: the next may go no better. Twice as long
/// each time, until one was claimed.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_DOUBLINGS_MAX: u32 = 6;
/// One that dies within it died young.
const YOUNG: Duration = Duration::from_secs(10);
/// For the shim of a blank that nobody wants to end what it holds.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// Removes the blanks of a server that is gone. Its running sandboxes are none of them.
pub(crate) fn remove_left(sandboxes_dir: &Path) {
    for entry in std::fs::read_dir(sandboxes_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(error) = reap(&Home::new(entry.path()))
        {
            tracing::warn!(%error, dir = %entry.path().display(), "cannot remove a sandbox that was booted ahead");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: Arc<Base>,
    idle: u32,
    warm: WarmConfig,
    state: Mutex<State>,
    /// One is made at a time.
    making: tokio::sync::Mutex<()>,
    /// Those who guard blanks.
    guards: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// The latest first.
    asked: Vec<Shape>,
    /// The oldest first.
    standing: Vec<Standing>,
    /// None is made before.
    paused_until: Option<Instant>,
    /// Since one was claimed.
    failures: u32,
    closed: bool,
}

/// A blank in the hands of its guard.
#[derive(Debug)]
struct Standing {
    shape: Shape,
    /// Hands it over. Dropped: it is to go.
    order: oneshot::Sender<oneshot::Sender<Blank>>,
}

#[derive(Debug)]
struct Blank {
    shim: ShimProcess,
    remains: Remains,
}

impl Pool {
    /// Nothing is made before [`Pool::refill`].
    pub(crate) fn new(base: Arc<Base>) -> Self {
        let warm = base.config.warm.clone();
        let is_oci = matches!(base.driver, BootDriver::Oci);
        let idle = warm.idle.unwrap_or(if is_oci { CONTAINERS_IDLE } else { MACHINES_IDLE });
        // All containers are alike: the first can be warm.
        let asked = if is_oci { vec![Shape::CONTAINER] } else { Vec::new() };
        let state = Mutex::new(State { asked, ..State::default() });
        let inner = Inner { base, idle, warm, state, making: Default::default(), guards: TaskTracker::new() };
        Self { inner: Arc::new(inner) }
    }

    /// A sandbox that was booted already. None: boot one.
    pub(crate) async fn claim(&self, spec: &SandboxSpec) -> Option<Sandbox> {
        let inner = &self.inner;
        let shape = Shape::of(&inner.base.driver, spec)?;
        let home = inner.base.home(&spec.id);
        // What is wrong with it, the ordinary boot says.
        if spec.check().is_err() || home.dir.exists() {
            return None;
        }
        let Blank { mut shim, mut remains } = inner.take(shape).await?;
        match inner.base.become_sandbox(&mut shim, &mut remains, spec, home).await {
            Ok(sandbox) => {
                inner.state().failures = 0;
                Some(sandbox)
            }
            Err(error) => {
                tracing::warn!(%error, sandbox = spec.id, "cannot use a sandbox that was booted ahead, booting one");
                remains.remove(Duration::ZERO).await;
                // The others are no better.
                inner.pause();
                drop(std::mem::take(&mut inner.state().standing));
                None
            }
        }
    }

    /// Notes what was booted, and makes what is missing now.
    pub(crate) fn asked_for(&self, shape: Option<Shape>) {
        if let Some(shape) = shape {
            plan::ask(&mut self.inner.state().asked, shape);
        }
        drop(self.refill());
    }

    pub(crate) fn shape(&self, spec: &SandboxSpec) -> Option<Shape> {
        Shape::of(&self.inner.base.driver, spec)
    }

    /// Makes blanks in the background until enough stand ready. What is returned ends when that is done.
    pub(crate) fn refill(&self) -> tokio::task::JoinHandle<()> {
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.refill().await })
    }

    /// Removes all blanks; true: there were some.
    pub(crate) async fn make_room(&self) -> bool {
        let _making = self.inner.making.lock().await;
        self.inner.empty().await
    }

    /// Removes all blanks and makes no more.
    pub(crate) async fn close(&self) {
        self.inner.state().closed = true;
        self.make_room().await;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, shape: Shape) -> Option<Blank> {
        loop {
            let standing = {
                let mut state = self.state();
                let place = state.standing.iter().position(|standing| standing.shape == shape)?;
                state.standing.remove(place)
            };
            let (sender, receiver) = oneshot::channel();
            // One that just died or grew too old is not handed over.
            if standing.order.send(sender).is_ok()
                && let Ok(blank) = receiver.await
            {
                return Some(blank);
            }
        }
    }

    /// While none is being made.
    async fn empty(&self) -> bool {
        let standing = std::mem::take(&mut self.state().standing);
        let some = !standing.is_empty();
        drop(standing);
        self.guards.close();
        self.guards.wait().await;
        self.guards.reopen();
        some
    }

    async fn refill(self: Arc<Self>) {
        let _one = self.making.lock().await;
        while let Some(shape) = self.next() {
            match self.base.boot_blank(shape).await {
                Ok(blank) => self.stand(shape, blank),
                Err(error) => {
                    tracing::warn!(%error, "cannot boot a sandbox ahead");
                    self.pause();
                }
            }
        }
    }

    /// What is to be made now; what is too much goes.
    fn next(&self) -> Option<Shape> {
        let mut state = self.state();
        if state.closed || state.paused_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let standing: Vec<Shape> = state.standing.iter().map(|standing| standing.shape).collect();
        let plan = plan::plan(&state.asked, &standing, self.idle, self.warm.memory_bytes, &self.base.driver);
        for shape in plan.remove {
            if let Some(place) = state.standing.iter().position(|standing| standing.shape == shape) {
                state.standing.remove(place);
            }
        }
        plan.boot.first().copied()
    }

    /// Puts it under guard.
    fn stand(self: &Arc<Self>, shape: Shape, blank: Blank) {
        let (order, orders) = oneshot::channel();
        let mut state = self.state();
        let guard = guard(Arc::downgrade(self), blank, orders, self.warm.age_max);
        self.guards.spawn(guard);
        if !state.closed {
            state.standing.push(Standing { shape, order });
        }
    }

    fn pause(self: &Arc<Self>) {
        let pause = {
            let mut state = self.state();
            let pause = PAUSE * 2_u32.pow(state.failures.min(PAUSE_DOUBLINGS_MAX));
            state.failures = state.failures.saturating_add(1);
            state.paused_until = Some(Instant::now() + pause);
            pause
        };
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(pool) = pool.upgrade() {
                pool.refill().await;
            }
        });
    }
}

/// Holds a blank until it is claimed, dies, is too old or not wanted any more.
async fn guard(
    pool: Weak<Inner>,
    mut blank: Blank,
    mut orders: oneshot::Receiver<oneshot::Sender<Blank>>,
    age_max: Duration,
) {
    let born = Instant::now();
    let died = tokio::select! {
        order = &mut orders => {
            let refused = match order {
                // Whoever asked is gone: used it was not, but it is simpler to make another.
                Ok(claimant) => match claimant.send(blank) {
                    Ok(()) => return,
                    Err(blank) => blank,
                },
                Err(_) => blank,
            };
            refused.remove().await;
            return;
        }
        () = blank.shim.ended() => true,
        () = tokio::time::sleep(age_max) => false,
    };
    // Nobody gets it now.
    drop(orders);
    let young = born.elapsed() < YOUNG;
    let dir = blank.remains.home.dir.clone();
    blank.remove().await;
    let Some(pool) = pool.upgrade() else { return };
    pool.state().standing.retain(|standing| !standing.order.is_closed());
    if died {
        tracing::warn!(dir = %dir.display(), "a sandbox that was booted ahead died");
        if young {
            pool.pause();
            return;
        }
    }
    tokio::spawn(pool.refill());
}

impl Blank {
    async fn remove(self) {
        let Self { shim, remains } = self;
        // Its shim ends what it holds, and then itself.
        drop(shim);
        remains.remove(END_TIME_MAX).await;
    }
}

impl Base {
    async fn boot_blank(self: &Arc<Self>, shape: Shape) -> Result<Blank, SandboxError> {
        let slot = self.network.claim().await?;
        // As unique as the slot, which the sandbox keeps that it becomes: a later server makes none of that name meanwhile.
        let name = format!("{PREFIX}{:04x}", slot.index);
        let home = self.home(&name);
        let nothing = WritableSpec::scratch(home.dir.join("nothing"), 0);
        let (limits, hostname) = (shape.limits(), "blank".to_owned());
        // The kernel keeps names of keyrings that begin with a dot for itself, and crun names one like the container.
        let id = name.trim_start_matches('.').to_owned();
        let spec = SandboxSpec { id, layers: Vec::new(), writable: nothing, cache: None, limits, hostname };
        let boot = BootSpec { blank: true, ..self.boot_spec(spec, slot, self.cgroup(&name)) };
        let remains = Remains { home, boot, network: self.network.clone() };
        let started = self.start_blank(&remains.home, &remains.boot).await;
        match started {
            Ok(shim) => Ok(Blank { shim, remains }),
            Err(error) => {
                remains.remove(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn start_blank(&self, home: &Home, boot: &BootSpec) -> Result<ShimProcess, SandboxError> {
        let (made, spec) = (home.clone(), boot.clone());
        blocking(move || {
            reap(&made)?;
            std::fs::create_dir_all(&made.dir).map_err(SandboxError::file("make", &made.dir))?;
            made.write_json(&made.boot_spec_path(), &spec)
        })
        .await?;
        let mut shim = self.start_shim(home, Stdio::piped()).await?;
        shim.report(&boot.spec.id, home, self.boot_time_max()).await?;
        Ok(shim)
    }

    /// The name comes first, then the spec: a name that is taken harms nobody. A server that is killed in between leaves a blank that ends
    /// at once, and is removed under either name.
    async fn become_sandbox(
        &self,
        shim: &mut ShimProcess,
        remains: &mut Remains,
        spec: &SandboxSpec,
        home: Home,
    ) -> Result<Sandbox, SandboxError> {
        let mut steps = Steps::begin();
        let Remains { boot: blank, home: from, .. } = remains.clone();
        let boot = self.boot_spec(spec.clone(), blank.slot, blank.cgroup);
        let to = home.clone();
        blocking(move || std::fs::rename(&from.dir, &to.dir).map_err(SandboxError::file("rename", &from.dir))).await?;
        (remains.home, remains.boot) = (home.clone(), boot.clone());
        blocking(move || home.write_json(&home.boot_spec_path(), &boot)).await?;
        let home = &remains.home;
        let bound = match &self.driver {
            BootDriver::Oci => CLAIM_TIME_MAX,
            BootDriver::Qemu(_) | BootDriver::Firecracker(_) => MACHINE_CLAIM_TIME_MAX,
        };
        shim.claim_for(home).await.map_err(SandboxError::file("claim", &home.dir))?;
        steps.done("claim");
        let of_the_shim = shim.report(&spec.id, home, bound).await?;
        steps.within("shim", of_the_shim);
        let sandbox = link::attach(remains.clone()).await?;
        steps.done("attach");
        sandbox.booted_in(steps.taken);
        Ok(sandbox)
    }
}
