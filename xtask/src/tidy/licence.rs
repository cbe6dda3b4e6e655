//! Every package that the program or its tests are built from has a licence that Apache-2.0 may be
//! combined with: of an `OR` one part must be in the list, of an `AND` all.

use serde_json::Value;

/// Permissive licences, by their SPDX names.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A line for each package of others whose licence is not allowed or not stated.
pub(super) fn faults(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            match package["license"].as_str() {
                Some(licence) if allows(licence) => None,
                Some(licence) => Some(format!("{name} has the licence {licence}, which is not allowed here")),
                None => Some(format!("{name} states no licence")),
            }
        })
        .collect()
}

/// Whether an SPDX expression of `AND`, `OR` and brackets (or the old `A/B`) can be met by allowed
/// licences alone.
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    any(&words)
}

fn any(words: &[&str]) -> bool {
    split(words, "OR").into_iter().any(|part| split(part, "AND").into_iter().all(single))
}

fn single(words: &[&str]) -> bool {
    match words {
        ["(", inner @ .., ")"] => any(inner),
        name => ALLOWED.contains(&name.join(" ").as_str()),
    }
}

/// Cuts at a word outside brackets.
fn split<'a>(words: &'a [&'a str], at: &str) -> Vec<&'a [&'a str]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (place, word) in words.iter().enumerate() {
        match *word {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            word if word == at && depth == 0 => {
                parts.push(&words[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&words[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn an_or_needs_one_part_and_an_and_all() {
        for good in ["MIT", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND Zlib", "Apache-2.0 WITH LLVM-exception"] {
            assert!(allows(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "", "(GPL-3.0 OR MPL-2.0) AND MIT", "LGPL-2.1-or-later"] {
            assert!(!allows(bad), "{bad}");
        }
    }
}
