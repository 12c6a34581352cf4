use super::*;

#[test]
fn marks_are_told_from_files() {
    assert_eq!(meaning(OsStr::new(".wh..wh..opq")), Meaning::Opaque);
    assert_eq!(meaning(OsStr::new(".wh.gone")), Meaning::Whiteout(OsStr::new("gone")));
    assert_eq!(meaning(OsStr::new(".white")), Meaning::File);
}

#[test]
fn paths_stay_inside() {
    let check = |path: &str, want: Option<&str>| {
        assert_eq!(confine(Path::new(path)).ok(), want.map(PathBuf::from), "{path}");
    };
    check("./etc/passwd", Some("etc/passwd"));
    check("/etc/passwd", Some("etc/passwd"));
    check("../etc/passwd", None);
    check("a/../../b", None);
    check("./", Some(""));
}
