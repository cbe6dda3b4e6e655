//! An [`Explanation`] as a page: the text with its tokens coloured, and the attention of each block.

use std::fmt::Write;

use crate::Explanation;

/// Side of a picture of attention, in pixels.
const SIDE: usize = 220;

impl Explanation {
    /// The page, complete in itself: no script, nothing from elsewhere.
    pub fn to_html(&self) -> String {
        let mut page = String::from(concat!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>qhatu text explain</title>\n",
            "<style>body{font:16px/1.6 system-ui,sans-serif;margin:2rem;max-width:70rem}",
            "mark{padding:.15em .3em;margin:.1em;border-radius:.3em;display:inline-block;color:#111}",
            "figure{display:inline-block;margin:.5rem}figcaption{font-size:.85rem}</style>\n",
        ));
        self.tokens_section(
            &mut page,
            "Share of each token in the vector (attention rollout)",
            &self.rollout,
        );
        if let Some(similarity) = self.similarity {
            let title =
                format!("What each token adds to the likeness (cosine {similarity:.3}); orange takes away");
            self.tokens_section(&mut page, &title, &self.attribution);
        }
        page.push_str("<h2>Attention of each block: rows look at columns, mean of the heads</h2>\n");
        for (layer, block) in self.attention.iter().enumerate() {
            self.picture(&mut page, layer, block);
        }
        page.push_str("</html>\n");
        page
    }

    fn tokens_section(&self, page: &mut String, title: &str, values: &[f32]) {
        let most = values.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        page.push_str(&format!("<h2>{title}</h2>\n<p>"));
        for (token, value) in self.tokens.iter().zip(values) {
            let colour = if *value < 0.0 { "245,150,60" } else { "70,150,240" };
            let opacity = value.abs() / most;
            let token = escaped(token);
            let mark = format!(
                "<mark style=\"background:rgba({colour},{opacity:.2})\" title=\"{value:.4}\">{token}</mark>\n"
            );
            page.push_str(&mark);
        }
        page.push_str("</p>\n");
    }

    fn picture(&self, page: &mut String, layer: usize, block: &[f32]) {
        let length = self.tokens.len().max(1);
        let cell = SIDE as f32 / length as f32;
        let label = format!("Attention of block {}", layer + 1);
        let _ = write!(
            page,
            "<figure><svg role=\"img\" aria-label=\"{label}\" width=\"{SIDE}\" height=\"{SIDE}\" \
             viewBox=\"0 0 {length} {length}\" shape-rendering=\"crispEdges\">"
        );
        for (place, value) in block.iter().enumerate().filter(|(_, value)| **value > 0.01) {
            let (row, column) = (place / length, place % length);
            let opacity = value.sqrt();
            let _ = write!(
                page,
                "<rect x=\"{column}\" y=\"{row}\" width=\"1\" height=\"1\" fill=\"#1a5fb4\" fill-opacity=\"{opacity:.2}\">"
            );
            if cell >= 8.0 {
                let (from, to) = (escaped(&self.tokens[row]), escaped(&self.tokens[column]));
                let _ = write!(page, "<title>{from} → {to}: {value:.2}</title>");
            }
            page.push_str("</rect>");
        }
        let _ = writeln!(page, "</svg><figcaption>{label}</figcaption></figure>");
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_says_stays_text() {
        let page = Explanation {
            tokens: vec!["<script>".to_owned(), "a\"b&".to_owned()],
            rollout: vec![0.75, 0.25],
            attention: vec![vec![1.0, 0.0, 0.5, 0.5]],
            similarity: Some(0.5),
            attribution: vec![0.2, -0.1],
        }
        .to_html();
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("a&quot;b&amp;")
        );
        assert!(page.contains("rgba(245,150,60,0.50)"), "what takes away is orange: {page}");
        assert!(page.contains("cosine 0.500") && page.contains("Attention of block 1"));
    }
}
