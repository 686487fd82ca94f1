//! `bench speed`: a row for every point, with what its cache took.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::Workplace;

#[test]
fn every_point_of_the_grid_has_a_row() {
    let place = Workplace::new();
    let slide = "decode=slide:budget=16,recent=8";
    let grid = ["--prompt", "40,70", "--depth", "0,64", "--warm", "30", "--gen", "5"];
    let more = ["--lanes", "1,3", "--arm", "decode=none", "--arm", slide, "--repeat", "2"];
    let common = ["speed", "--model", "embedded", "--format", "json"];
    let answer = place.bench(&[&common[..], &grid, &more].concat()).json();
    let rows = answer["rows"].as_array().unwrap();
    let of = |test: &'static str| rows.iter().filter(move |row| row["test"] == test);
    assert_eq!((of("prefill").count(), of("decode").count()), (4, 8));
    for row in rows {
        let rate = |key: &str| row[key].as_f64().unwrap();
        assert!(rate("tok_s_min") > 0.0 && rate("tok_s_min") <= rate("tok_s_median"), "{row}");
        assert!(rate("tok_s_median") <= rate("tok_s_max"), "{row}");
    }
    // 4 layers of 2 KV heads of 32 channels, f32, in pages of 64: a prompt of 64 beside one page of output, or two pages that hold all.
    let page = 64 * 4 * 2 * 32 * 2 * 4;
    for (arm, pages) in [("decode=none", 2), (slide, 2)] {
        let row = of("decode").find(|row| row["arm"] == arm && row["depth"] == 94).unwrap();
        assert_eq!(row["kv_bytes"], pages * page, "{row}");
    }

    let few = ["--prompt", "8", "--gen", "2", "--repeat", "1", "--isa", "scalar"];
    assert_eq!(place.bench(&[&common[..], &few].concat()).json()["isa"], "scalar");

    let refused = |more: &[&str], words: &str| {
        place.bench(&[&common[..], more].concat()).failed(2, &[words]);
    };
    refused(&["--gen", "0"], "`--gen` must be at least 1");
    refused(&["--isa", "avx2", "--device", "cuda:0"], "`--isa` says nothing of `--device cuda:0`");
    refused(&["--depth", "4090"], "context of 4096");
    refused(&["--arm", "decode=slid"], "slid");
    assert!(
        place
            .bench(&["speed", "--model", "embedded", "--repeat", "1"])
            .succeeded()
            .contains("tok/s")
    );
}
