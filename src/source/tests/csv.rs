//! What CSV files do to their readers.

use super::*;
use crate::source::records::MAX_RECORD;

#[test]
fn csv_quirks_do_not_change_the_values() {
    let plain = b"job,\xe5\x9f\x8e\xe5\xb8\x82\na,1\n\"b,\"\"c\"\"\nd\",2\n,3\n".to_vec();
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend_from_slice(&plain);
    let crlf = String::from_utf8(plain.clone()).expect("text").replace('\n', "\r\n").replace("\"\"\r\nd", "\"\"\nd");
    let cut = &plain[..plain.len() - 1];
    let blank = [crlf.as_bytes(), b"\r\n\r\n"].concat();
    let members = [gzip(&plain[..9]), gzip(&plain[9..])].concat();
    let zst = zstd::encode_all(&plain[..], 1).expect("memory takes it");
    let expected = vec![row(&["a", "1"]), row(&["b,\"c\"\nd", "2"]), row(&["-", "3"])];
    let same: [(&str, &[u8]); 7] = [
        ("lf.csv", &plain),
        ("bom.txt", &bom),
        ("crlf.csv", crlf.as_bytes()),
        ("cut.csv", cut),
        ("blank.tsv", &blank),
        ("members.csv.gz", &members),
        ("frames.CSV.ZST", &zst),
    ];
    for (name, bytes) in same {
        let (_dir, input) = folder(&[(name, bytes)]);
        assert_eq!(names(&input), ["job", "城市"], "{name}");
        assert_eq!(texts(&input), expected, "{name}");
    }
}

#[test]
fn null_values_trimming_names_and_skipped_lines_follow_the_job() {
    let (_dir, mut input) = folder(&[("a.csv", b"|1x3 Cross validator\n39, State-gov, ?\n 50 ,,?x\n\n")]);
    input.csv.names = vec!["age".into(), "work".into(), "sex".into()];
    input.csv.header = false;
    input.csv.skip_lines = 1;
    input.csv.trim = true;
    input.csv.null_values = vec!["?".into()];
    assert_eq!(texts(&input), [row(&["39", "State-gov", "-"]), row(&["50", "-", "?x"])]);
    input.csv.trim = false;
    assert_eq!(texts(&input), [row(&["39", " State-gov", " ?"]), row(&[" 50 ", "-", "?x"])]);
}

#[test]
fn a_ragged_line_is_named_by_its_line_even_behind_quoted_and_blank_lines() {
    for eol in ["\n", "\r\n"] {
        let text = ["a,b", "1,\"x", "y\"", "", "2,3", "4,5,6", "7,8", ""].join(eol);
        let (dir, mut input) = folder(&[("t.csv", text.as_bytes())]);
        let error = scan_error(&input);
        assert_eq!(error.kind(), ErrorKind::Quality);
        let path = dir.path().join("t.csv");
        assert_eq!(
            error.to_string(),
            format!(
                "{path:?} line 6: ragged line: 3 fields, expected 2, as in the header line; input.on_bad_row = \"quarantine\" leaves such rows out and counts them"
            )
        );
        input.on_bad_row = OnBadRow::Quarantine;
        let table = Table::open(&input).expect("a table");
        let (rows, rejects, file_rows) = share(&table, 0, 1).expect("rows");
        assert_eq!(rows.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!((rejects.total(), rejects.by_reason["ragged line"], file_rows), (1, 1, vec![4]));
        assert_eq!((rejects.samples[0].row, rejects.samples[0].line), (2, Some(6)));
    }
}

#[test]
fn text_in_another_encoding_says_how_to_convert_it() {
    // 北京 in GBK, and é in Windows-1252.
    let (_dir, input) = folder(&[("g.csv", b"a,b\n1,\xb1\xb1\xbe\xa9\n")]);
    let error = scan_error(&input).to_string();
    assert!(error.contains("line 2") && error.contains("iconv -f GB18030 -t UTF-8"), "{error}");
    let (_dir, input) = folder(&[("w.csv", b"a,b\n1,caf\xe9\n")]);
    let error = scan_error(&input).to_string();
    assert!(error.contains("not utf-8 in column \"b\": the bytes e9 are") && !error.contains("GBK"), "{error}");
    let (_dir, input) = folder(&[("h.csv", b"\xb3\xc7\xca\xd0,b\n1,2\n")]);
    let error = open_error(&input);
    assert!(error.contains("line 1") && error.contains("GB18030"), "{error}");
    let (_dir, input) = folder(&[("u.csv", b"\xff\xfea\0,\0b\0\n\0")]);
    assert!(open_error(&input).contains("iconv -f UTF-16"));
    // The two halves of one character, in neighbouring fields: their bytes together would be UTF-8.
    let (_dir, input) = folder(&[("s.csv", b"a,b\n\xc3,\xa9\n")]);
    assert!(scan_error(&input).to_string().contains("not utf-8"));
}

#[test]
fn a_quote_that_is_never_closed_is_an_error_at_its_line() {
    let (_dir, mut input) = folder(&[("q.csv", b"a,b\n1,2\n3,\"4\n5,6\n")]);
    input.on_bad_row = OnBadRow::Quarantine;
    let error = scan_error(&input);
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.to_string().contains("line 3") && error.to_string().contains("input.csv.quote"), "{error}");
    input.csv.quote = '\0';
    assert_eq!(texts(&input)[1], row(&["3", "\"4"]));

    let long = [b"a,b\n1,2\n3,\"4".to_vec(), vec![b'x'; MAX_RECORD * 3]].concat();
    let (_dir, input) = folder(&[("long.csv.gz", &gzip(&long))]);
    let error = scan_error(&input);
    assert!(matches!(&error, SourceError::LongRecord { line: 3, .. }), "{error}");

    let field = [b"a,b\n1,\"".to_vec(), vec![b'\n'; 1_100_000], b"\"\n3,4\n".to_vec()].concat();
    let (_dir, mut input) = folder(&[("field.csv", &field)]);
    assert!(scan_error(&input).to_string().contains("line 2: field too long in column \"b\": 1100000 bytes"));
    input.on_bad_row = OnBadRow::Quarantine;
    assert_eq!(texts(&input), [row(&["3", "4"])]);
}

#[test]
fn a_cut_compressed_file_is_an_error_that_names_it() {
    let text: Vec<u8> = (0..20_000).flat_map(|i| format!("{i},{}\n", i * 7919 % 1000).into_bytes()).collect();
    let text = [b"a,b\n".to_vec(), text].concat();
    for (name, bytes) in [("c.csv.gz", gzip(&text)), ("c.csv.zst", zstd::encode_all(&text[..], 1).expect("memory"))] {
        let (_dir, input) = folder(&[(name, &bytes[..bytes.len() / 2])]);
        let table = Table::open(&input);
        let error = match table {
            Ok(table) => share(&table, 0, 1).expect_err("cut"),
            Err(error) => error,
        };
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_wrong_delimiter_or_a_missing_header_line_is_guessed_in_the_error() {
    let (_dir, input) = folder(&[("a.csv", b"age;job;y\n1;a;no\n")]);
    let error = Table::open(&input).expect("one column").column("metric.column", "y").expect_err("none").to_string();
    assert!(error.contains("metric.column") && error.contains("input.csv.delimiter = \";\""), "{error}");
    let (_dir, input) = folder(&[("a.csv", b"39, State-gov\n50, Private\n")]);
    let hint = Table::open(&input).expect("two columns").hint().expect("a hint");
    assert!(hint.contains("\"39\"") && hint.contains("input.csv.header = false"), "{hint}");
    let (_dir, input) = folder(&[("a.csv", b"age,job\n1,a\n")]);
    let error = Table::open(&input).expect("two columns").column("input.id", "jobb").expect_err("none").to_string();
    assert!(error.contains("did you mean \"job\"?"), "{error}");
}

#[test]
fn a_block_of_long_fields_comes_in_several_chunks() {
    // 80 rows of half a megabyte are 40 MB, more than the 32 MiB after which a chunk is handed on.
    let text: Vec<u8> = (0..80).flat_map(|_| [vec![b'x'; 500_000], b"\n".to_vec()].concat()).collect();
    let (_dir, input) = folder(&[("t.csv.gz", &gzip(&[b"a\n".to_vec(), text].concat()))]);
    let table = Table::open(&input).expect("a table");
    let chunks: Vec<Chunk> = table.scan(&[0], 0, 1).collect::<Result<_, _>>().expect("rows");
    let sizes: Vec<(u64, usize)> = chunks.iter().map(|chunk| (chunk.first_row, chunk.rows.num_rows())).collect();
    assert_eq!(sizes, [(0, 68), (68, 12)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: proptest::test_runner::RngSeed::Fixed(2), ..ProptestConfig::default() })]

    /// The `csv` crate by itself is the oracle: what it reads is read here as well, or refused with an error.
    #[test]
    fn any_bytes_are_read_as_the_library_reads_them_or_refused(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "a", "b", "é", "退", " ", ",", ",", "\n", "\n", "\r\n", "\"", "\"", "\"\"", ",\"", "\",", "\"\n", "\0", "x,y\n", "\u{feff}",
        ]), 0..60),
    ) {
        let text = format!("p,q\n{}", parts.concat());
        let (_dir, mut input) = folder(&[("t.csv", text.as_bytes())]);
        input.on_bad_row = OnBadRow::Quarantine;
        let mut oracle = ::csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let records: Vec<Vec<String>> = oracle
            .records()
            .map(|record| record.expect("text").iter().map(str::to_owned).collect())
            .collect();
        match Table::open(&input).and_then(|table| share(&table, 0, 1)) {
            Ok((rows, rejects, file_rows)) => {
                let expected: Vec<_> = records
                    .iter()
                    .filter(|record| record.len() == 2)
                    .map(|record| record.iter().map(|field| (!field.is_empty()).then(|| field.clone())).collect::<Vec<_>>())
                    .collect();
                let table = Table::open(&input).expect("a table");
                let alone = (rows.clone(), rejects.clone(), file_rows.clone());
                prop_assert!(merged(&table, 1) == alone && merged(&table, 3) == alone);
                let found: Vec<Vec<Option<String>>> = rows.into_iter().map(|(_, _, fields)| fields).collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(file_rows, vec![records.len() as u64]);
                prop_assert_eq!(rejects.total(), records.iter().filter(|record| record.len() != 2).count() as u64);
            }
            Err(error) => {
                // A quote is open at the end: one more quote changes what the library reads, two do not.
                prop_assert!(matches!(error, SourceError::OpenQuote { .. }), "{}", error);
                let closed = format!("{text}\"");
                let reread = ::csv::ReaderBuilder::new().flexible(true).from_reader(closed.as_bytes());
                let reread: Vec<Vec<String>> = reread
                    .into_records()
                    .map(|record| record.expect("text").iter().map(str::to_owned).collect())
                    .collect();
                prop_assert_eq!(reread, records);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_never_panic(bytes in proptest::collection::vec(
        proptest::sample::select(vec![b'a', b',', b'\n', b'\r', b'"', 0, 0x1f, 0x8b, 0x28, 0xb5, 0x2f, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xef, 0xbb, 0xbf, 0xc3]),
        0..80,
    ), name in proptest::sample::select(vec!["t.csv", "t.csv.gz", "t.csv.zst"])) {
        let (_dir, mut input) = folder(&[(name, &bytes)]);
        input.on_bad_row = OnBadRow::Quarantine;
        input.csv.names = vec!["a".into(), "b".into()];
        input.csv.header = false;
        if let Ok((rows, rejects, file_rows)) = Table::open(&input).and_then(|table| share(&table, 0, 1)) {
            prop_assert_eq!(file_rows, vec![rows.len() as u64 + rejects.total()]);
        }
    }
}
