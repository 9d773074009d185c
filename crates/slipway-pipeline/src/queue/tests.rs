use super::*;
use slipway_types::ServiceKind;

const MINUTE: i64 = 60_000;
const GB: u64 = 1 << 30;

/// `name project age_in_minutes` and words: `preview`, `resuming`, a number of gigabytes, `of SERVICE`.
fn candidate(now: i64, text: &str) -> Candidate {
    let words: Vec<&str> = text.split(' ').collect();
    let has = |word: &str| words.contains(&word);
    let service = words.iter().position(|word| *word == "of").map_or(words[0], |at| words[at + 1]);
    let memory = words.iter().find_map(|word| word.strip_suffix("GB")).map_or(1, |number| number.parse().unwrap());
    Candidate {
        deployment: DeploymentId::parse(words[0]).unwrap(),
        service: ServiceId::parse(service).unwrap(),
        project: ProjectName::parse(words[1]).unwrap(),
        production: !has("preview"),
        sequence: 1,
        created_at: now - words[2].parse::<i64>().unwrap() * MINUTE,
        resuming: has("resuming"),
        memory_bytes: memory * GB,
    }
}

fn held(text: &str) -> Held {
    let Candidate { deployment, service, project, memory_bytes, .. } = candidate(0, text);
    Held { deployment, service, project, memory_bytes }
}

struct Case {
    waiting: Vec<Candidate>,
    running: Vec<Held>,
    turns: Turns,
}

impl Case {
    fn new(waiting: &[&str], running: &[&str], turns: &[&str]) -> Self {
        let mut taken = Turns::default();
        turns.iter().for_each(|project| taken.take(&ProjectName::parse(*project).unwrap()));
        let waiting = waiting.iter().map(|text| candidate(0, text)).collect();
        Self { waiting, running: running.iter().map(|text| held(text)).collect(), turns: taken }
    }

    fn queue(&self) -> Queue<'_> {
        let builds = Builds { running: &self.running, memory_max_bytes: 6 * GB };
        Queue { now: 0, waiting: &self.waiting, builds, turns: &self.turns }
    }

    fn next(&self) -> Option<&str> {
        self.queue().next().map(|one| one.deployment.as_str())
    }
}

type Words = &'static [&'static str];
/// Name, what waits, what runs, whose turns were; then who is next.
type Row = (&'static str, Words, Words, Words, Option<&'static str>);

#[test]
fn what_an_idle_worker_takes() {
    let cases: &[Row] = &[
        ("nothing waits", &[], &[], &[], None),
        ("the oldest", &["a shop 1", "b shop 2"], &[], &[], Some("b")),
        ("what had a worker", &["a shop 9", "b shop 1 preview resuming"], &[], &[], Some("b")),
        ("production before previews", &["a shop 9 preview", "b shop 1"], &[], &[], Some("b")),
        ("a preview that waited long enough", &["a shop 10 preview", "b shop 1"], &[], &[], Some("a")),
        ("fewest builds, not most wishes", &["a shop 9", "b shop 8", "c blog 1"], &["x shop 0"], &[], Some("c")),
        ("whose turn was longest ago", &["a shop 9", "b blog 1"], &[], &["blog", "shop"], Some("b")),
        ("one after the other", &["a shop 9", "b blog 1"], &[], &["blog", "shop", "blog"], Some("a")),
        ("a new project goes behind nobody", &["a shop 1", "b new 2"], &[], &["shop"], Some("b")),
        ("and before nobody", &["a shop 2", "b new 1"], &[], &["shop"], Some("a")),
        ("a service builds once at a time", &["a shop 9 of web", "b shop 1"], &["x shop 0 of web"], &[], Some("b")),
        ("what fits", &["a shop 1 2GB"], &["x blog 0 4GB"], &[], Some("a")),
        ("what does not fit", &["a shop 1 3GB"], &["x blog 0 4GB"], &[], None),
        ("nothing smaller passes it", &["a shop 2 3GB", "b shop 1 1GB"], &["x blog 0 4GB"], &[], None),
        ("what is too large alone", &["a shop 1 9GB"], &[], &[], Some("a")),
    ];
    for (name, waiting, running, turns, expected) in cases {
        assert_eq!(Case::new(waiting, running, turns).next(), *expected, "{name}");
    }
}

#[test]
fn who_waits_is_told_why_and_where_it_stands() {
    let waiting = ["a shop 9 3GB", "b shop 8", "c blog 1", "d shop 7 of web"];
    let case = Case::new(&waiting, &["x blog 0 3GB", "y shop 0 2GB of web"], &[]);
    let waits = |idle| {
        let waits = case.queue().waits(idle);
        waits.into_iter().map(|wait| (wait.deployment.to_string(), wait.position, wait.waits_for)).collect::<Vec<_>>()
    };
    let memory = WaitsFor::Memory { builds: 2, held_bytes: 5 * GB, memory_max_bytes: 6 * GB, wanted_bytes: 3 * GB };
    let worker = WaitsFor::Worker { builds: 2 };
    // By turns: a project's builds count as if they had begun.
    let named = |of: [(&str, WaitsFor); 4]| {
        let numbered = of.into_iter().zip(1..);
        numbered.map(|((name, waits_for), number)| (name.to_owned(), number, waits_for)).collect::<Vec<_>>()
    };
    assert_eq!(waits(false), named([("a", memory), ("c", worker), ("b", worker), ("d", WaitsFor::Service)]));
    let turn = WaitsFor::Turn;
    assert_eq!(waits(true), named([("a", memory), ("c", turn), ("b", turn), ("d", WaitsFor::Service)]));
}

/// Anybody may come at any time, and those who come most do so to be served before the others. Each who waits is given a worker
/// all the same, within a number of turns that depends on who was there when it became urgent, and not on who came since.
#[test]
fn nobody_starves() {
    for seed in 1..=20_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let (mut waiting, mut running, mut turns) = (Vec::<Candidate>::new(), Vec::<Held>::new(), Turns::default());
        let workers = 1 + usize::try_from(below(3)).unwrap();
        let mut urgent_since = BTreeMap::<DeploymentId, u64>::new();
        let mut given = 0;
        for (step, now) in (0_u64..400).zip((0..).step_by(20_000)) {
            // More comes than can be built, the most of it by one project, and new projects all the time.
            for _ in 0..=below(2) {
                let number = step * 10 + below(10);
                let project = match below(6) {
                    0..=2 => "busy".to_owned(),
                    3 => format!("new-{number}"),
                    4 => "shop".to_owned(),
                    _ => "blog".to_owned(),
                };
                let kind = if below(4) == 0 { "preview" } else { "production" };
                let one = candidate(now, &format!("d-{number} {project} 0 {kind} {}GB", 1 + below(6)));
                if waiting.len() < 20 && waiting.iter().all(|other| other.deployment != one.deployment) {
                    waiting.push(one);
                }
            }
            if running.len() == workers || below(3) == 0 {
                let ended = usize::try_from(below(running.len().max(1) as u64)).unwrap();
                (ended < running.len()).then(|| running.swap_remove(ended));
            }
            for one in &waiting {
                let waited = now - one.created_at;
                if one.production || waited >= i64::try_from(PREVIEW_WAIT_MAX.as_millis()).unwrap() {
                    urgent_since.entry(one.deployment.clone()).or_insert(given);
                }
            }
            while running.len() < workers {
                let builds = Builds { running: &running, memory_max_bytes: 6 * GB };
                let queue = Queue { now, waiting: &waiting, builds, turns: &turns };
                let Some(next) = queue.next().cloned() else { break };
                given += 1;
                let Candidate { deployment, service, project, memory_bytes, .. } = next;
                turns.take(&project);
                waiting.retain(|one| one.deployment != deployment);
                if let Some(since) = urgent_since.remove(&deployment) {
                    // Those of its own project that are older, times the projects that have turns in between.
                    assert!(given - since <= 20 * 4, "seed {seed}: {deployment} waited for {} turns", given - since);
                }
                running.push(Held { deployment, service, project, memory_bytes });
            }
            let held: u64 = running.iter().map(|held| held.memory_bytes).sum();
            assert!(held <= 6 * GB || running.len() == 1, "seed {seed}: {held} bytes are held");
        }
        let longest = urgent_since.values().map(|since| given - since).max().unwrap_or(0);
        assert!(longest <= 20 * 4, "seed {seed}: one waits since {longest} turns");
        assert!(given > 100, "seed {seed}: {given}");
    }
}

#[test]
fn a_build_counts_with_the_largest_of_its_limits() {
    let mut settings = ServiceSettings::default();
    (settings.build.memory, settings.run.memory) = (ByteSize(2 * GB), ByteSize(3 * GB));
    let plain = Shape::unplanned(ServiceKind::Web);
    assert_eq!(memory_of(&settings, &plain), ByteSize(2 * GB));
    assert_eq!(memory_of(&settings, &Shape { pre_deploy: true, ..plain }), ByteSize(3 * GB));
    assert_eq!(memory_of(&settings, &Shape { reuses_image: true, ..plain }), ByteSize(0));
}
