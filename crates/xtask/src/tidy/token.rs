//! Cuts a Rust file into a flat list of tokens that know their line.
//!
//! Tokens and not a syntax tree: a tree ends at each macro, and much of our code stands
//! inside `select!`, `assert!` and `json!`.

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

#[derive(Debug)]
pub struct Token {
    pub kind: Kind,
    /// First and last line, counted from 1. They differ for literals of several lines.
    pub line: usize,
    pub last_line: usize,
    /// Inside something that only tests compile.
    pub is_test: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Ident(String),
    Punct(char),
    /// A literal as it is written, with its quotes.
    Literal(String),
    /// The text of a doc comment, which is no literal to a reader.
    Doc,
    /// An opening bracket, and where in the list its closing one is.
    Open(Delimiter, usize),
    Close,
}

/// Returns the tokens of `text`, or an error if its brackets and quotes do not match.
pub fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut tokens = Vec::new();
    flatten(text.parse()?, &mut tokens);
    mark_docs(&mut tokens);
    mark_tests(&mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let (line, last_line) = (tree.span().start().line, tree.span().end().line);
        let mut push = |kind| tokens.push(Token { kind, line, last_line, is_test: false });
        match tree {
            TokenTree::Ident(ident) => push(Kind::Ident(ident.to_string())),
            TokenTree::Punct(punct) => push(Kind::Punct(punct.as_char())),
            TokenTree::Literal(literal) => push(Kind::Literal(literal.to_string())),
            TokenTree::Group(group) => {
                let open = tokens.len();
                let bracket = |line, kind| Token { kind, line, last_line: line, is_test: false };
                tokens.push(bracket(line, Kind::Open(group.delimiter(), open)));
                flatten(group.stream(), tokens);
                // Only now is it known where the group ends.
                tokens[open].kind = Kind::Open(group.delimiter(), tokens.len());
                tokens.push(bracket(last_line, Kind::Close));
            }
        }
    }
}

/// A doc comment reaches us as the attribute `#[doc = "text"]`.
fn mark_docs(tokens: &mut [Token]) {
    for at in 2..tokens.len() {
        let is_doc = is_ident(&tokens[at - 2], "doc") && tokens[at - 1].kind == Kind::Punct('=');
        if is_doc && matches!(tokens[at].kind, Kind::Literal(_)) {
            tokens[at].kind = Kind::Doc;
        }
    }
}

/// Marks each item behind `#[cfg(test)]`, `#[test]` or `#[tokio::test]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let Kind::Open(Delimiter::Bracket, close) = tokens[at + 1].kind else {
            at += 1;
            continue;
        };
        if tokens[at].kind == Kind::Punct('#') && is_test_attribute(&tokens[at + 2..close]) {
            let end = end_of_item(tokens, close + 1);
            tokens[at..end].iter_mut().for_each(|token| token.is_test = true);
        }
        at += 1;
    }
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let has = |name| tokens.iter().any(|token| is_ident(token, name));
    let starts = |name| tokens.first().is_some_and(|token| is_ident(token, name));
    let path_end = tokens.iter().take_while(|token| !matches!(token.kind, Kind::Open(..))).last();
    (starts("cfg") && has("test") && !has("not"))
        || path_end.is_some_and(|token| is_ident(token, "test"))
}

/// Where the item that starts at `at` has ended: behind its `;` or its braces.
pub fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Open(Delimiter::Brace, close) => return close + 1,
            Kind::Punct(';') => return at + 1,
            Kind::Open(_, close) => at = close + 1,
            _ => at += 1,
        }
    }
    tokens.len()
}

pub fn is_ident(token: &Token, name: &str) -> bool {
    matches!(&token.kind, Kind::Ident(ident) if ident == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_know_their_partners_and_tokens_their_lines() {
        let tokens = tokens("fn f(\n    a: u8,\n) {\n    \"x\ny\"\n}\n").unwrap();
        let Kind::Open(Delimiter::Parenthesis, close) = tokens[2].kind else {
            panic!("{:?}", tokens[2])
        };
        assert_eq!((tokens[2].line, tokens[close].line), (1, 3));
        let literal = tokens.iter().find(|t| matches!(t.kind, Kind::Literal(_))).unwrap();
        assert_eq!((literal.line, literal.last_line), (4, 5));
    }

    #[test]
    fn what_only_tests_compile_is_marked() {
        for (text, marked) in [
            ("#[cfg(test)] mod t { NAME }", true),
            ("#[cfg(all(test, unix))] mod t { NAME }", true),
            ("#[tokio::test(flavor = \"x\")] async fn t(a: [u8; 2]) { NAME }", true),
            ("#[test] #[ignore] fn t() { NAME }", true),
            ("#[cfg(test)] mod t; fn f() { NAME }", false),
            ("#[cfg(not(test))] mod t { NAME }", false),
            ("#[derive(Debug)] struct S { NAME }", false),
        ] {
            let tokens = tokens(text).unwrap();
            let name = tokens.iter().find(|token| is_ident(token, "NAME")).unwrap();
            assert_eq!(name.is_test, marked, "{text}");
        }
    }

    #[test]
    fn doc_comments_are_no_literals() {
        let tokens = tokens("/// one\nfn f() {} //! odd place\n").unwrap();
        assert!(!tokens.iter().any(|token| matches!(token.kind, Kind::Literal(_))));
    }
}
