//! Column pages alone: decoding, single rows, and predicates on encoded pages beside the same on decoded values. In
//! processor time.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::expect_used, reason = "a benchmark that fails says so and ends")]
#![allow(clippy::cast_precision_loss, reason = "figures to look at")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lsm_benches::{CpuTime, mix};
use lsm_columnar::{
    Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Comparison, Datum, Encoding, EncodingSet,
    Page, PageEncoder, PageStamp, Predicate, Schema, Values,
};

const ROWS: usize = 4096;
const STAMP: PageStamp = PageStamp { group: 0, column: ColumnId::FIRST, part: 0 };

/// One column: its name, its values, the encoding that suits it.
struct Case {
    name: &'static str,
    vector: ColumnVector,
    encoding: Encoding,
}

fn numbers(name: &'static str, encoding: Encoding, value: impl Fn(u64) -> i64) -> Case {
    let mut vector = ColumnVector::new(ColumnType::I64);
    for row in 0..ROWS as u64 {
        vector.push(Datum::I64(value(row))).expect("of the type");
    }
    Case { name, vector, encoding }
}

fn texts(name: &'static str, encoding: Encoding, value: impl Fn(u64) -> String) -> Case {
    let mut vector = ColumnVector::new(ColumnType::Utf8);
    for row in 0..ROWS as u64 {
        vector.push(value(row).as_str().into()).expect("of the type");
    }
    Case { name, vector, encoding }
}

fn cases() -> Vec<Case> {
    let signed = u64::cast_signed;
    vec![
        numbers("plain", Encoding::Plain, |row| signed(mix(row))),
        numbers("frame_10_bits", Encoding::FrameOfReference, |row| signed(mix(row) % 1000)),
        numbers("runs", Encoding::RunLength, |row| signed(mix(row / 100) % 1000)),
        numbers("dictionary", Encoding::Dictionary, |row| signed((mix(row) % 50) << 40)),
        numbers("delta", Encoding::Delta, |row| signed(row * 1000 + mix(row) % 500)),
        texts("text_lengths", Encoding::Lengths, |row| format!("{:x}", mix(row))),
        texts("text_dictionary", Encoding::Dictionary, |row| format!("city {}", mix(row) % 50)),
        texts("text_keys", Encoding::BundledKeys, |row| format!("user/{row:012}")),
    ]
}

fn encode(case: &Case) -> (Page, Vec<u8>) {
    let mut payload = Vec::new();
    let mut encoder = PageEncoder::new(EncodingSet::of(&[case.encoding]));
    let info = encoder.encode(STAMP, &case.vector, 0..ROWS, &mut payload).expect("a small page");
    assert_eq!(info.encoding, case.encoding, "the encoding that was asked for");
    let page = Page::open(STAMP, case.vector.ty(), 4096, &payload).expect("just written");
    (page, payload)
}

fn pages(criterion: &mut Criterion<CpuTime>) {
    for case in cases() {
        let (page, payload) = encode(&case);
        let mut group = criterion.benchmark_group(format!("columnar/{}", case.name));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("encode", |bencher| {
            let mut encoder = PageEncoder::new(EncodingSet::ALL);
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                encoder.encode(STAMP, &case.vector, 0..ROWS, &mut out).expect("a small page")
            });
        });
        group.bench_function("open", |bencher| {
            bencher.iter(|| {
                Page::open(STAMP, case.vector.ty(), 4096, black_box(&payload)).expect("well formed")
            });
        });
        let mut decoded = ColumnVector::new(case.vector.ty());
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                decoded.clear();
                page.decode(black_box(&payload), &mut decoded).expect("well formed");
            });
        });
        group.bench_function("single_rows", |bencher| {
            let mut scratch = Vec::new();
            bencher.iter(|| {
                let row = |at: u64| usize::try_from(mix(at)).unwrap_or(0) % ROWS;
                (0..ROWS as u64).filter(|&at| !page.get(&payload, row(at), &mut scratch).is_null()).count()
            });
        });
        let middle = case.vector.get(ROWS / 2);
        let schema = Schema::new(vec![Column::new(STAMP.column, "c", case.vector.ty())]).expect("one column");
        let predicate =
            Predicate::Compare(STAMP.column, Comparison::Lt, middle).bind(&schema).expect("of the type");
        group.bench_function("predicate_encoded", |bencher| {
            bencher.iter(|| {
                let found =
                    predicate.select::<ColumnarError>(ROWS, |_| Ok(Some((&page, black_box(&payload)))));
                found.expect("of the type").count()
            });
        });
        group.bench_function("predicate_decoded", |bencher| {
            bencher.iter(|| {
                decoded.clear();
                page.decode(black_box(&payload), &mut decoded).expect("well formed");
                match (decoded.values(), middle) {
                    (Values::I64(values), Datum::I64(bound)) => {
                        values.iter().filter(|&&value| value < bound).count()
                    }
                    (Values::Bytes(strings), Datum::Bytes(bound)) => {
                        (0..ROWS).filter(|&row| strings.get(row) < bound).count()
                    }
                    _ => 0,
                }
            });
        });
        group.finish();
        println!("columnar/{}: {:.2} bytes per row", case.name, payload.len() as f64 / ROWS as f64);
    }
}

criterion_group! {
    name = columnar;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(300));
    targets = pages
}
criterion_main!(columnar);
