use super::support::{run_on, succeed, there_is_a_card, train};

const LOSS: &[&str] = &[
    "bench",
    "loss",
    "--objective=dcl",
    "--embeddings=16",
    "--dim=8",
    "--repeats=1",
];

#[test]
fn a_card_that_cannot_be_used_is_said() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (setting, words) in [
        (
            ("CARDS", "0"),
            "no CUDA device 0: the driver lists 0 (CUDA_ERROR_NO_DEVICE",
        ),
        (
            ("CAPABILITY", "6.1"),
            "rehearsal has compute capability 6.1; 7.0 or newer is needed",
        ),
    ] {
        let asked = run_on(
            home.path(),
            &[setting],
            &[LOSS, &["--device=cuda"]].concat(),
        );
        assert_eq!(asked.code, 1, "{}", asked.err);
        assert!(asked.err.contains(words), "{}", asked.err);
        // Where there is a choice, the processor computes, and the reason is said.
        let auto = run_on(
            home.path(),
            &[setting],
            &[LOSS, &["--device=auto"]].concat(),
        );
        assert_eq!(auto.code, 0, "{}", auto.err);
        assert!(
            auto.err.contains("on the CPU: ") && auto.err.contains(words),
            "{}",
            auto.err
        );
        assert!(auto.out.contains(" cpu "), "{}", auto.out);
        let out = format!("run-{}", setting.0);
        let auto = run_on(home.path(), &[setting], &train("auto", "1", &out, &[]));
        assert_eq!(auto.code, 0, "{}", auto.err);
        let start = words.split(':').next().unwrap();
        let said = format!("device: CPU ({start})");
        assert!(auto.err.contains(&said), "{said}\n{}", auto.err);
    }
    let absent = run_on(home.path(), &[], &[LOSS, &["--device=cuda:1"]].concat());
    assert!(
        absent
            .err
            .contains("no CUDA device 1: the driver lists 1 (they are numbered from 0"),
        "{}",
        absent.err
    );
}

/// Generations differ in shared memory, in tensor cores, and in whether the compiler knows them: for one
/// that it does not, it makes code that the driver translates.
#[test]
fn cards_of_all_generations_train_in_the_precisions_that_they_have() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (generation, precision) in [("7.0", "f32"), ("8.6", "bf16"), ("12.0", "tf32")] {
        let set = format!("--set=precision={precision}");
        let args = train("cuda", "1", generation, &[&set]);
        let ran = run_on(home.path(), &[("CAPABILITY", generation)], &args);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let args = train("cuda", "1", "refused", &["--set=precision=bf16"]);
    let refused = run_on(home.path(), &[("CAPABILITY", "7.5")], &args);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let words = "use precision = \"f32\"";
    assert!(refused.err.contains(words), "{}", refused.err);
}

/// `auto` has chosen the card by the time that memory is asked for.
#[test]
fn too_little_memory_is_said_with_what_helps() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (device, memory) in [("cuda", "20000"), ("auto", "20000"), ("cuda", "300000")] {
        let out = format!("{device}-{memory}");
        let ran = run_on(
            home.path(),
            &[("MEMORY", memory)],
            &train(device, "2", &out, &[]),
        );
        assert_eq!(ran.code, 1, "{}\n{}", ran.out, ran.err);
        for words in ["out of device memory: asked for ", "use a smaller batch"] {
            assert!(ran.err.contains(words), "{}", ran.err);
        }
        assert!(!ran.err.contains("still alive"), "{}", ran.err);
    }
}

#[test]
fn a_card_that_is_there_is_taken() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let ran = succeed(home.path(), &train("auto", "1", "run", &[]));
    assert!(ran.err.contains("device: rehearsal, f32"), "{}", ran.err);
    assert!(ran.executed("kernels") > 0);
}
