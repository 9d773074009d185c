//! The targets of `./x fuzz` as ordinary tests: the inputs that earlier runs kept, and mutations of them, the same ones each time.

use std::path::Path;

/// Longer ones are for the fuzzer itself.
const INPUT_BYTES_MAX: usize = 64 * 1024;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Runs all kept inputs of a target, and that many mutations. An input that breaks it is left in the directory for temporary files, and named.
pub fn replay(target: &str, mutations: u32, run: impl Fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<Vec<u8>> =
        std::fs::read_dir(&dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", dir.display());
    inputs.sort();
    inputs.iter().for_each(|input| watched(target, input, &run));
    let mut random = Random(SEED);
    for _ in 0..mutations {
        let mut input = random.pick(&inputs).clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &inputs, &mut random);
        }
        input.truncate(INPUT_BYTES_MAX);
        watched(target, &input, &run);
    }
}

fn watched(target: &str, input: &[u8], run: &impl Fn(&[u8])) {
    struct Left<'a>(&'a str, &'a [u8]);
    impl Drop for Left<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let file = std::env::temp_dir().join(format!("slipway-{}-{}", self.0, std::process::id()));
                let _ = std::fs::write(&file, self.1);
                eprintln!("the input is {}", file.display());
            }
        }
    }
    let _left = Left(target, input);
    run(input);
}

fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(6) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = *random.pick(b"!\n{}[]\",:0129-\\\0\xff"),
        2 => input.truncate(at),
        3 if at < input.len() => drop(input.drain(at..(at + 1 + random.below(16)).min(input.len()))),
        4 => {
            // A line of another.
            let lines: Vec<&[u8]> = random.pick(others).split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let line = *random.pick(&lines);
                input.splice(at..at, line.iter().copied());
            }
        }
        _ => {
            // A line of its own, once more or elsewhere.
            let lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if !lines.is_empty() {
                let (line, to) = (random.pick(&lines).clone(), random.below(lines.len() + 1));
                let at: usize = lines[..to].iter().map(Vec::len).sum();
                input.splice(at..at, line);
            }
        }
    }
}

/// Xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
