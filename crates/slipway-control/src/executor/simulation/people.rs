//! Who uses the server: they deploy, roll back, cancel, restart, scale, stop, start and destroy whenever they like, and change variables.

use super::random::Random;
use super::source;
use crate::executor::{Command, Order};
use crate::refusal::Refusal;
use crate::seal::MasterKey;
use crate::variable::Variables;
use slipway_store::{ServiceRow, Store};
use slipway_types::api::{DeploymentView, EnvApplyView, EnvParams, EnvValue};
use slipway_types::settings::{DurationMs, HealthPatch, ReloadMode, RunPatch, ServiceKind, SettingsPatch, SleepPatch};
use slipway_types::{DeploymentId, ProjectName, Secret, ServiceId, ServiceName};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

#[derive(Debug)]
enum Answer {
    Deployment(oneshot::Receiver<Result<DeploymentView, Refusal>>),
    Done(oneshot::Receiver<Result<(), Refusal>>),
    Applied(oneshot::Receiver<Result<EnvApplyView, Refusal>>),
}

/// How a service may be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settings {
    Plain,
    Migrates,
    Sleeps,
    TwoReplicas,
    Worker,
    /// All that goes together.
    Rich,
}

impl Settings {
    pub(super) const ALL: [Self; 6] =
        [Self::Plain, Self::Migrates, Self::Sleeps, Self::TwoReplicas, Self::Worker, Self::Rich];

    pub(super) fn patch(self) -> SettingsPatch {
        let sleeps = matches!(self, Self::Sleeps | Self::Rich);
        let is_told = matches!(self, Self::Worker | Self::Rich);
        SettingsPatch {
            kind: (self == Self::Worker).then_some(ServiceKind::Worker),
            replicas: matches!(self, Self::TwoReplicas | Self::Rich).then_some(2),
            pre_deploy_command: matches!(self, Self::Migrates | Self::Rich).then(|| "npm run migrate".to_owned()),
            sleep: sleeps.then_some(SleepPatch { after: Some(DurationMs::seconds(60)) }),
            run: is_told.then_some(RunPatch { reload: Some(ReloadMode::Signal) }),
            health: Some(HealthPatch { start_timeout: Some(DurationMs::seconds(30)), ..HealthPatch::default() }),
            ..SettingsPatch::default()
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct People {
    services: Vec<ServiceRow>,
    waiting: Vec<(String, Answer)>,
    /// Deployments that they may still ask for.
    left: u32,
}

impl People {
    pub(super) async fn new(random: &mut Random, store: &Store) -> Self {
        let services = store.overviews().await.unwrap().into_iter().map(|overview| overview.service).collect();
        Self { services, waiting: Vec::new(), left: 2 + u32::try_from(random.below(4)).unwrap() }
    }

    /// One more.
    pub(super) async fn make_service(&mut self, store: &Store, random: &mut Random) {
        let number = 2 + random.below(1_000_000);
        let name = ServiceName::parse(format!("s{number}")).unwrap();
        let id = ServiceId::parse(format!("svc-{number}")).unwrap();
        let project = ProjectName::parse("shop").unwrap();
        let row = store.ensure_service(super::nature::BEGAN_AT, &project, &name, &id).await.unwrap();
        let settings = random.pick(&Settings::ALL).unwrap();
        store.put_settings(&row.service_id, &settings.patch()).await.unwrap();
        self.services.push(store.service(&row.service_id).await.unwrap());
    }

    pub(super) fn services(&self) -> usize {
        self.services.len()
    }

    /// What one of them wants now.
    pub(super) fn wish(&mut self, random: &mut Random, known: &[DeploymentId]) -> Option<(String, Command)> {
        let service = random.pick(&self.services)?;
        let id = service.service_id.clone();
        let (reply, answer) = oneshot::channel();
        let (said, command) = match random.below(16) {
            0..=4 if self.left > 0 => {
                let message = None;
                (format!("deploys {id}"), {
                    let force = random.percent(50);
                    Command::Deploy { service, source: source::spec(), message, force, reply }
                })
            }
            5..=6 if self.left > 0 => {
                let rebuild = random.percent(20);
                (format!("redeploys {id}"), Command::Redeploy { service, rebuild, reply })
            }
            7..=8 if self.left > 0 => {
                let release = random.percent(30).then_some(1);
                (format!("rolls {id} back"), Command::Rollback { service, release, reply })
            }
            9..=10 => {
                let deployment = random.pick(known)?;
                (format!("cancels {deployment}"), Command::Cancel { deployment, reply })
            }
            11..=14 => return self.supervise(random, service),
            _ if random.percent(20) => {
                self.services.retain(|other| other.service_id != id);
                let (reply, answer) = oneshot::channel();
                let said = format!("destroys {id}");
                self.waiting.push((said.clone(), Answer::Done(answer)));
                return Some((said, Command::Destroy { service, reply }));
            }
            _ => return None,
        };
        self.left -= u32::from(!matches!(command, Command::Cancel { .. }));
        self.waiting.push((said.clone(), Answer::Deployment(answer)));
        Some((said, command))
    }

    /// Other replicas of what is live.
    fn supervise(&mut self, random: &mut Random, service: ServiceRow) -> Option<(String, Command)> {
        let orders = [Order::Restart, Order::Restart, Order::Scale(1), Order::Scale(3), Order::Stop, Order::Start];
        let order = random.pick(&orders)?;
        let (reply, answer) = oneshot::channel();
        let said = format!("wants {order:?} of {}", service.service_id);
        self.waiting.push((said.clone(), Answer::Done(answer)));
        Some((said, Command::Supervise { service, order, reply }))
    }

    /// Other variables, now or from some later time on.
    pub(super) async fn change_variables(
        &mut self,
        random: &mut Random,
        store: &Store,
        key: &MasterKey,
    ) -> Option<(String, Option<Command>)> {
        let service = random.pick(&self.services)?;
        let id = service.service_id.clone();
        let value = format!("value {}", random.below(1_000_000));
        put_variable(store, key, &id, &value).await?;
        let said = format!("changes variables of {id}");
        if random.percent(20) {
            return Some((said, None));
        }
        let (reply, answer) = oneshot::channel();
        self.waiting.push((said.clone(), Answer::Applied(answer)));
        Some((said, Some(Command::ApplyVariables { service, reply })))
    }

    /// What they were answered. Only a server that is gone may leave them without an answer.
    pub(super) fn answers(&mut self) -> Vec<String> {
        let refused = |refusal: Refusal| format!("refused: {}", refusal.error.code);
        let closed = || "no answer".to_owned();
        let mut said = Vec::new();
        for (wish, answer) in self.waiting.drain(..) {
            let answer = match answer {
                Answer::Deployment(mut answer) => match answer.try_recv() {
                    Ok(Ok(view)) => format!("{} is {}", view.deployment, view.status),
                    Ok(Err(refusal)) => {
                        self.left += u32::from(!wish.starts_with("cancels"));
                        refused(refusal)
                    }
                    Err(_) => closed(),
                },
                Answer::Applied(mut answer) => answer.try_recv().map_or_else(
                    |_| closed(),
                    |answer| answer.map_or_else(refused, |applied| format!("{:?}", applied.action)),
                ),
                Answer::Done(mut answer) => answer
                    .try_recv()
                    .map_or_else(|_| closed(), |answer| answer.map_or_else(refused, |()| "done".to_owned())),
            };
            said.push(format!("someone {wish}: {answer}"));
        }
        said
    }
}

/// A new revision of the service's variables. None: it was destroyed.
pub(super) async fn put_variable(store: &Store, key: &MasterKey, id: &ServiceId, value: &str) -> Option<()> {
    let row = store.service(id).await.ok()?;
    let before = match store.env(id, row.env_revision).await.unwrap() {
        Some(sealed) => Variables::unseal(key, id, row.env_revision, &sealed).unwrap(),
        None => Variables::default(),
    };
    let value = EnvValue { value: Secret::new(value), secret: true, build: false, run: true };
    let params = EnvParams { set: BTreeMap::from([("COLOUR".to_owned(), value)]), unset: Vec::new() };
    let changed = before.changed(super::nature::BEGAN_AT, &params).unwrap();
    let sealed = changed.seal(key, id, row.env_revision + 1).unwrap();
    store.put_env(super::nature::BEGAN_AT, id, row.env_revision, &sealed).await.unwrap();
    Some(())
}
