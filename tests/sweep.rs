//! `recompra sweep` as a user meets it: the real binary over a few days of candles.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const GRID: [&str; 6] =
    ["--set", "rebuy_step_percent=0.5..2/0.5", "--set", "take_profit_percent=0.5,1,2", "--split", "70%"];
const CONFIG: &str = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
                      take_profit_percent = 1\nmax_rebuys = 3\nrebuy_step_percent = 1\nmax_capital = 200\n";

/// A folder with candles and a configuration, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("recompra-sweep-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("candles.csv.gz"), gzip(&candles())).unwrap();
        std::fs::write(path.join("recompra.toml"), CONFIG).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a program in the folder: exit code, standard output, standard error.
    fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let own = Path::new(env!("CARGO_BIN_EXE_recompra")).parent().unwrap().to_owned();
        let known = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&known))).unwrap();
        let command = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .env("PATH", path)
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (command.status.code(), text(command.stdout), text(command.stderr))
    }

    fn sweep(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let market = ["sweep", "--market", "candles.csv.gz", "--config", "recompra.toml", "--no-cache"];
        self.run("recompra", &[&market[..], arguments].concat(), &[])
    }

    fn swept(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.sweep(arguments);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
        out
    }

    fn merged(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.run("recompra", &[&["sweep", "merge"], arguments].concat(), &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
        out
    }

    /// What one run without shards leaves.
    fn whole(&self) -> String {
        self.swept(&[&GRID[..], &["--out", "whole.jsonl"]].concat());
        self.read("whole.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Three days that rise and fall by some per cent every few hours.
fn candles() -> String {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    let (mut price, mut state) = (4_500_000_i64, 1_u64);
    for minute in 0..3 * 24 * 60_i64 {
        let open = price;
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = i64::try_from(state >> 54).unwrap() - 512;
        price += noise * 4 + if minute / 240 % 2 == 0 { 400 } else { -420 };
        let (high, low) = (open.max(price) + noise.abs(), open.min(price) - noise.abs());
        let cents = |price: i64| format!("{}.{:02}", price / 100, price % 100);
        let start = 1_640_995_200 + minute * 60;
        writeln!(text, "{start},{},{},{},{},1", cents(open), cents(high), cents(low), cents(price)).unwrap();
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn each_result_is_that_of_a_backtest_with_the_same_parameters() {
    let folder = Folder::new("backtest");
    folder.swept(&["--set", "take_profit_mode=average,per_level", "--set", "rebuy_step_percent=0.5,1", "--out", "r"]);
    let lines = folder.lines("r");
    assert_eq!((lines.len(), &lines[0]["type"], &lines[0]["sets"]), (5, &"sweep".into(), &4.into()));
    for line in &lines[1..] {
        let (mode, step) = (&line["parameters"]["take_profit_mode"], &line["parameters"]["rebuy_step_percent"]);
        let strategy = CONFIG.replace("rebuy_step_percent = 1", &format!("rebuy_step_percent = {step}"));
        std::fs::write(folder.file("one.toml"), format!("{strategy}take_profit_mode = {mode}\n")).unwrap();
        let one = ["backtest", "--market", "candles.csv.gz", "--config", "one.toml", "--no-cache", "--json"];
        let (code, out, error) = folder.run("recompra", &one, &[]);
        assert_eq!(code, Some(0), "{error}");
        let one: Value = serde_json::from_str(&out).unwrap();
        let measures = &line["in_sample"];
        for field in [
            "from",
            "to",
            "cycles",
            "executions",
            "profit",
            "equity",
            "equity_percent",
            "most_bound",
            "drawdown",
            "under_water_seconds",
            "longest_cycle_seconds",
            "buy_and_hold",
        ] {
            assert_eq!(measures[field], one[field], "{field} of {mode} {step}");
        }
        assert!(measures["executions"].as_u64() > Some(3), "something was traded: {measures}");
        assert_eq!(line["out_of_sample"], Value::Null);
    }
}

#[test]
fn a_file_that_was_cut_goes_on_to_the_same_bytes_and_the_same_table() {
    let folder = Folder::new("resume");
    let whole = folder.whole();
    let shown = folder.swept(&[&GRID[..], &["--out", "whole.jsonl"]].concat());
    for part in [0, 20, whole.len() / 2, whole.len() - 5, whole.len()] {
        std::fs::write(folder.file("cut.jsonl"), &whole[..part]).unwrap();
        let again = folder.swept(&[&GRID[..], &["--out", "cut.jsonl", "--threads", "3"]].concat());
        assert_eq!(folder.read("cut.jsonl"), whole, "cut at {part}");
        assert_eq!(again, shown, "cut at {part}");
    }
    let (code, _, error) = folder.sweep(&["--set", "rebuy_step_percent=1,2", "--out", "whole.jsonl"]);
    assert!(code == Some(78) && error.contains("of another sweep (what is swept differs)"), "{error}");
    assert_eq!(folder.read("whole.jsonl"), whole);
}

#[test]
fn the_second_part_of_a_split_begins_where_the_first_ends() {
    let folder = Folder::new("split");
    let shown =
        folder.swept(&["--set", "rebuy_step_percent=0.5..2/0.1", "--split", "2022-01-03", "--out", "r", "--top", "3"]);
    assert!(shown.contains("in sample before 2022-01-03 00:00, out of sample from then on"), "{shown}");
    assert!(shown.contains("| out of sample") && shown.contains("16 sets, 16 with results"), "{shown}");
    assert!(shown.contains("mean equity: of these"), "{shown}");
    for line in &folder.lines("r")[1..] {
        let (first, second) = (&line["in_sample"], &line["out_of_sample"]);
        assert_eq!(first["from"], "2022-01-01T00:00:00.000Z");
        assert!(first["to"].as_str() < Some("2022-01-03"), "{first}");
        assert_eq!(second["from"], "2022-01-03T00:00:00.000Z");
    }
    let json = folder.swept(&["--set", "rebuy_step_percent=0.5..2/0.1", "--rank", "drawdown", "--top", "2", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let drawdown =
        |place: usize| json["best"][place]["in_sample"]["drawdown"].as_str().unwrap().parse::<f64>().unwrap();
    assert!(json["best"].as_array().unwrap().len() == 2 && drawdown(0) <= drawdown(1), "{json}");
}

#[test]
fn refused_sets_are_counted_and_named() {
    let folder = Folder::new("refused");
    let shown = folder.swept(&["--set", "max_rebuys=2,3,4,5", "--set", "active_rebuys=1,0", "--out", "r"]);
    assert!(shown.contains("8 sets, 2 with results"), "{shown}");
    assert!(shown.contains("refused: 4 sets for active_rebuys, set 1 for example: found 0, must be"), "{shown}");
    assert!(shown.contains("refused: 2 sets for max_capital, set 4 for example: rebuy 4: the ladder costs"), "{shown}");
    let of_rule = folder.swept(&["--set", "base_order_amount=50", "--set", "rebuy_amount=2,50"]);
    assert!(of_rule.contains("refused: 1 set for ladder, set 0 for example: rebuy 1: "), "{of_rule}");
    let (code, out, error) = folder.sweep(&["--set", "max_rebuys=4,5"]);
    assert!(code == Some(78) && error.contains("every set was refused") && out.contains("2 sets, 0 with"), "{error}");
}

#[test]
fn a_sample_is_the_same_for_its_seed() {
    let folder = Folder::new("sample");
    let sampled = |seed: &str, out: &str| {
        folder.swept(&["--set", "rebuy_step_percent=0.5..2/0.01", "--sample", "5", "--seed", seed, "--out", out]);
        folder.read(out)
    };
    let (one, again, other) = (sampled("7", "a"), sampled("7", "b"), sampled("8", "c"));
    assert_eq!(one, again);
    assert_ne!(one.lines().nth(1), other.lines().nth(1));
    assert_eq!(one.lines().count(), 6);
}

#[test]
fn wrong_input_is_told_with_the_way_to_write_it() {
    let folder = Folder::new("wrong");
    let ok = ["--set", "rebuy_step_percent=1,2"];
    for (arguments, code, told) in [
        (&[][..], 64, "--set KEY=FROM..TO/STEP"),
        (&["--set", "rebuy_step_percent"], 64, "has no =: write KEY=FROM..TO/STEP"),
        (&["--set", "rebuy_step_percent=1..2"], 64, "has no step"),
        (&["--set", "rebuy_step=1"], 64, "is no parameter of the strategy"),
        (&["--set", "max_rebuy=1"], 64, "did you mean max_rebuys?"),
        (&["--set", "symbol=ETHUSDT"], 64, "one symbol"),
        (&["--set", "max_rebuys=1", "--set", "max_rebuys=2"], 64, "swept twice"),
        (&[ok[0], ok[1], "--rank", "luck"], 64, "\"luck\" is no measure: there are equity, "),
        (&[ok[0], ok[1], "--split", "half"], 64, "write 70%, or a date"),
        (&[ok[0], ok[1], "--split", "100%"], 64, "leaves one part without candles"),
        (&[ok[0], ok[1], "--split", "2031-01-01"], 64, "leaves one part without candles"),
        (&[ok[0], ok[1], "--shard", "5/4", "--out", "r"], 64, "write I/N"),
        (&[ok[0], ok[1], "--shard", "1/4"], 64, "--shard needs --out FILE"),
        (&[ok[0], ok[1], "--sample", "0"], 64, "at least 1"),
        (&[ok[0], ok[1], "--out", "."], 74, ".: "),
        (&[ok[0], ok[1], "--out", "recompra.toml"], 78, "is no file of a sweep's results"),
    ] {
        let (found, out, error) = folder.sweep(arguments);
        assert!(found == Some(code) && out.is_empty() && error.contains(told), "{arguments:?}: {found:?} {error}");
    }
    let (code, _, error) = folder.run("recompra", &["sweep", "merge", "nothing.jsonl"], &[]);
    assert!(code == Some(74) && error.contains("nothing.jsonl"), "{error}");
    let (code, _, error) = folder.run("recompra", &["sweep", "merge", "recompra.toml"], &[]);
    assert!(code == Some(78) && error.contains("is no file of a sweep's results"), "{error}");
}

// ------------------------------------------------------------------------------------ the manifests in docs

fn manifest(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Says past the runner's capture that something was not tested.
fn skipped(why: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

/// Runs a script once for each part, as a scheduler would, joins the parts, and compares them with a run without shards.
fn assert_the_parts_join(folder: &Folder, script: &str, variables: impl Fn(u32) -> Vec<(&'static str, String)>) {
    let whole = folder.whole();
    for part in 1..=4 {
        let variables = variables(part);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (code, _, error) = folder.run("sh", &["-ec", script], &variables);
        assert_eq!(code, Some(0), "part {part}: {error}");
    }
    folder.merged(&["part-3.jsonl", "part-1.jsonl", "part-4.jsonl", "part-2.jsonl", "--out", "sweep.jsonl"]);
    assert_eq!(folder.read("sweep.jsonl"), whole);
}

#[test]
fn what_each_pod_of_the_kubernetes_job_runs_joins_to_the_whole() {
    let text = manifest("sweep-kubernetes.yaml");
    let (before, block) = text.split_once("- |\n").unwrap();
    assert!(before.trim_end().ends_with("args:") && before.contains("command: [\"/bin/sh\", \"-ec\"]"));
    assert!(text.contains("completionMode: Indexed\n") && text.contains("completions: 4\n"));
    let indent = block.len() - block.trim_start().len();
    let lines = block.lines().take_while(|line| line.len() - line.trim_start().len() >= indent);
    let script: String = lines.map(|line| format!("{}\n", &line[indent..])).collect();
    assert!(script.starts_with("recompra sweep ") && script.trim_end().ends_with('"'), "{script}");
    let folder = Folder::new("kubernetes");
    assert_the_parts_join(&folder, &script, |part| vec![("JOB_COMPLETION_INDEX", (part - 1).to_string())]);
}

#[test]
fn the_kubernetes_job_is_what_kubernetes_reads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sweep-kubernetes.yaml");
    let file = file.to_string_lossy();
    // Decodes the manifest as a typed Job, without a cluster.
    let known = Command::new("kubectl").args(["set", "env", "--local", "-f", &file, "X=1", "-o", "json"]).output();
    let Ok(known) = known else { return skipped("kubectl is not installed: the manifest was not read by it") };
    let error = String::from_utf8_lossy(&known.stderr);
    assert!(known.status.success(), "{error}");
    let job: Value = serde_json::from_slice(&known.stdout).unwrap();
    assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
    assert_eq!((&job["spec"]["completionMode"], &job["spec"]["completions"]), (&"Indexed".into(), &4.into()));
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["workingDir"], &container["volumeMounts"][0]["mountPath"]),
        (&"/sweep".into(), &"/sweep".into())
    );
    assert!(container["args"][0].as_str().unwrap().starts_with("recompra sweep "), "{container}");
}

#[test]
fn what_each_task_of_the_slurm_array_runs_joins_to_the_whole() {
    let script = manifest("sweep-slurm.sh");
    assert!(script.contains("#SBATCH --array=1-4\n"));
    let folder = Folder::new("slurm");
    let variables =
        |part: u32| vec![("SLURM_ARRAY_TASK_ID", part.to_string()), ("SLURM_ARRAY_TASK_COUNT", "4".to_owned())];
    assert_the_parts_join(&folder, &script, variables);
}

#[test]
fn what_gnu_parallel_runs_joins_to_the_whole() {
    let known = Command::new("parallel").arg("--version").output();
    if !known.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).starts_with("GNU parallel")) {
        return skipped("GNU parallel is not installed: docs/sweep-parallel.sh was not run");
    }
    let folder = Folder::new("parallel");
    let home = folder.0.to_string_lossy().into_owned();
    let (code, _, error) = folder.run("sh", &["-c", &manifest("sweep-parallel.sh")], &[("HOME", &home)]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(folder.read("sweep.jsonl"), folder.whole());
}

#[test]
fn parts_that_do_not_make_a_whole_are_refused_and_named() {
    let folder = Folder::new("parts");
    for part in ["1/3", "2/3", "3/3"] {
        folder.swept(&["--set", "max_rebuys=0..3/1", "--shard", part, "--out", &part.replace('/', "-")]);
    }
    folder.swept(&["--set", "max_rebuys=0..2/1", "--shard", "3/3", "--out", "other"]);
    let told = |files: &[&str]| {
        let (code, out, error) = folder.run("recompra", &[&["sweep", "merge", "--out", "joined"], files].concat(), &[]);
        assert!(code == Some(78) && out.is_empty() && !folder.file("joined").exists(), "{files:?}: {error}");
        error
    };
    assert!(told(&["1-3", "3-3"]).contains("is one of 3 parts, missing: 2/3"));
    assert!(told(&["1-3", "2-3", "other"]).contains("what is swept differs"));
    assert!(told(&["1-3", "2-3", "3-3", "3-3"]).contains("is the same part as"));
    let shown = folder.merged(&["1-3", "2-3", "3-3", "--out", "joined"]);
    assert!(shown.contains("4 sets, 4 with results"), "{shown}");
    assert_eq!(folder.merged(&["joined"]), shown, "a whole file is shown again");
    let (code, _, error) = folder.run("recompra", &["sweep", "merge", "1-3", "2-3", "3-3", "--out", "joined"], &[]);
    assert!(code == Some(74) && error.contains("joined"), "what is there is not written over: {error}");
}
