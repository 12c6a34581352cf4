//! The links in HTML that streams by. Pure.
//!
//! Not a parser of documents: tags are found as HTML 5 tokenizes them, the attributes that hold URLs are offered to a
//! function, and every byte that it does not change stays as it was.

use std::ops::Range;

/// A tag that does not end within so many bytes is none, and passes as it is.
const MAX_TAG_BYTES: usize = 64 << 10;
/// Elements whose content is text whatever it looks like.
const TEXT_ELEMENTS: [&[u8]; 9] =
    [b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes", b"plaintext"];

/// What begins a comment.
const COMMENT: &[u8] = b"<!--";

/// Which attributes of which elements hold a URL; the list is upstream's.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where in a page we are.
#[derive(Clone, Copy)]
enum Within {
    Text,
    Comment,
    /// The content of a text element.
    Element(&'static [u8]),
}

/// What comes next of the bytes at hand.
enum Next {
    /// So many bytes as they are, and then we are there.
    Copy(usize, Within),
    /// A whole tag.
    Tag(Tag),
    /// It takes more bytes to say.
    Wait,
}

/// A start tag: where its parts are.
struct Tag {
    end: usize,
    name: Range<usize>,
    /// Names and values, the latter without their quotes.
    attributes: Vec<(Range<usize>, Range<usize>)>,
}

/// A page that is passed on piece by piece. `turn` says what takes the place of a URL, if anything does.
pub(super) struct Page<F> {
    turn: F,
    held: Vec<u8>,
    within: Within,
}

impl<F: Fn(&str) -> Option<String>> Page<F> {
    pub(super) fn new(turn: F) -> Self {
        Self { turn, held: Vec::new(), within: Within::Text }
    }

    /// Takes a piece, and gives out all that is settled by now.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece);
        let (mut out, mut at) = (Vec::with_capacity(held.len()), 0);
        while at < held.len() {
            let rest = &held[at..];
            match next(rest, self.within) {
                Next::Copy(length, within) => {
                    out.extend_from_slice(&rest[..length]);
                    at += length;
                    self.within = within;
                }
                Next::Tag(tag) => {
                    self.write(rest, &tag, &mut out);
                    at += tag.end;
                    self.within = inside(&rest[tag.name]);
                }
                Next::Wait if rest.len() > MAX_TAG_BYTES => {
                    out.push(rest[0]);
                    at += 1;
                }
                Next::Wait => break,
            }
        }
        held.drain(..at);
        self.held = held;
        out
    }

    /// What is left when no more comes.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn write(&self, bytes: &[u8], tag: &Tag, out: &mut Vec<u8>) {
        let mut written = 0;
        for (name, value) in &tag.attributes {
            if !holds_url(&bytes[tag.name.clone()], &bytes[name.clone()]) {
                continue;
            }
            let url = std::str::from_utf8(&bytes[value.clone()]);
            if let Some(turned) = url.ok().and_then(|url| (self.turn)(url)) {
                out.extend_from_slice(&bytes[written..value.start]);
                out.extend_from_slice(turned.as_bytes());
                written = value.end;
            }
        }
        out.extend_from_slice(&bytes[written..tag.end]);
    }
}

fn inside(name: &[u8]) -> Within {
    let element = TEXT_ELEMENTS.into_iter().find(|element| element.eq_ignore_ascii_case(name));
    element.map_or(Within::Text, Within::Element)
}

fn holds_url(tag: &[u8], attribute: &[u8]) -> bool {
    let of_tag = LINKS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(tag));
    of_tag.is_some_and(|(_, names)| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(attribute)))
}

/// `bytes` is not empty.
fn next(bytes: &[u8], within: Within) -> Next {
    match within {
        Within::Text => next_in_text(bytes),
        Within::Comment => until(bytes, b"-->", 3, within),
        Within::Element(name) => until(bytes, &[b"</", name].concat(), 0, within),
    }
}

fn next_in_text(bytes: &[u8]) -> Next {
    match bytes.iter().position(|byte| *byte == b'<') {
        None => return Next::Copy(bytes.len(), Within::Text),
        Some(0) => {}
        Some(before) => return Next::Copy(before, Within::Text),
    }
    if bytes.starts_with(COMMENT) {
        return Next::Copy(COMMENT.len(), Within::Comment);
    }
    if COMMENT.starts_with(bytes) {
        return Next::Wait;
    }
    if bytes[1].is_ascii_alphabetic() { tag(bytes).map_or(Next::Wait, Next::Tag) } else { Next::Copy(1, Within::Text) }
}

/// Everything before `end`, and `more` bytes of it; without an end in sight all that cannot begin it.
fn until(bytes: &[u8], end: &[u8], more: usize, within: Within) -> Next {
    if let Some(at) = bytes.windows(end.len()).position(|window| window.eq_ignore_ascii_case(end)) {
        return if at + more == 0 { next_in_text(bytes) } else { Next::Copy(at + more, Within::Text) };
    }
    match bytes.len().saturating_sub(end.len() - 1) {
        0 => Next::Wait,
        safe => Next::Copy(safe, within),
    }
}

/// The start tag at the beginning of `bytes`, if all of it is there.
fn tag(bytes: &[u8]) -> Option<Tag> {
    let find = |from: usize, stop: &dyn Fn(u8) -> bool| -> Option<usize> {
        bytes[from..].iter().position(|byte| stop(*byte)).map(|offset| from + offset)
    };
    let space = |byte: u8| byte.is_ascii_whitespace();
    let name = 1..find(1, &|byte| space(byte) || matches!(byte, b'/' | b'>'))?;
    let (mut at, mut attributes) = (name.end, Vec::new());
    loop {
        at = find(at, &|byte| !space(byte) && byte != b'/')?;
        if bytes[at] == b'>' {
            return Some(Tag { end: at + 1, name, attributes });
        }
        let ends = find(at + 1, &|byte| space(byte) || matches!(byte, b'/' | b'>' | b'='))?;
        let attribute = at..ends;
        at = find(ends, &|byte| !space(byte))?;
        if bytes[at] != b'=' {
            continue;
        }
        at = find(at + 1, &|byte| !space(byte))?;
        let value = match bytes[at] {
            quote @ (b'"' | b'\'') => at + 1..find(at + 1, &|byte| byte == quote)?,
            _ => at..find(at, &|byte| space(byte) || byte == b'>')?,
        };
        at = if value.start > at { value.end + 1 } else { value.end };
        attributes.push((attribute, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(url: &str) -> Option<String> {
        url.starts_with('/').then(|| format!("/P{url}"))
    }

    /// However the page is cut, the same comes out.
    #[track_caller]
    fn check(page: &str, want: &str) {
        for size in [1, 2, 3, 7, page.len().max(1)] {
            let mut pages = Page::new(turn);
            let mut out: Vec<u8> = page.as_bytes().chunks(size).flat_map(|piece| pages.push(piece)).collect();
            out.extend(pages.finish());
            assert_eq!(String::from_utf8(out).unwrap(), want, "in pieces of {size}");
        }
    }

    #[test]
    fn links_are_turned() {
        check(r#"<a href="/rewriteme">test</a>"#, r#"<a href="/P/rewriteme">test</a>"#);
        check("<A  Class=x HREF = '/a' >", "<A  Class=x HREF = '/P/a' >");
        check("<img src=/a.png><img src=/b.png/>", "<img src=/P/a.png><img src=/P/b.png/>");
        check("<img/src=\"/a\"usemap=\"/b\" alt=\"/c\">", "<img/src=\"/P/a\"usemap=\"/P/b\" alt=\"/c\">");
        check("<form action=\"/a?x=1&amp;y=2\">", "<form action=\"/P/a?x=1&amp;y=2\">");
        check("<script src='/a.js'></script><a href='/b'>", "<script src='/P/a.js'></script><a href='/P/b'>");
        check("1 < 2 <p><a href='/b'>", "1 < 2 <p><a href='/P/b'>");
    }

    #[test]
    fn what_is_no_link_stays() {
        for page in [
            "",
            "<a href=\"relative\">",
            "<p href=\"/a\">",
            "<a data-href=\"/a\">",
            "<!-- <a href=\"/a\"> -->",
            "<script>var x = '<a href=\"/a\">';</script>",
            "<textarea><a href=\"/a\"></textarea>",
            "</a href=\"/a\">",
            "<a title=\"> href='/a'\">",
            "<a href=\"/a",
            "<!doctype html><",
            "<a href>",
            "<a href=>",
        ] {
            check(page, page);
        }
    }

    #[test]
    fn a_tag_without_end_is_not_kept_for_ever() {
        let mut page = Page::new(turn);
        let mut out = page.push(b"<a href=\"");
        for _ in 0..100 {
            out.extend(page.push(&[b'x'; 4096]));
            assert!(page.held.len() <= MAX_TAG_BYTES + 1);
        }
        assert!(out.len() > 300_000);
    }
}
