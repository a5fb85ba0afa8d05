//! HTML: what comes from outside is escaped, and figures carry their exact value.

use std::fmt::Write as _;

/// Text that means nothing but itself, inside elements and quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// JSON that may stand inside a `script` element: no text in it can end the element.
pub fn json(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// A figure: what is shown, and the exact value for machines and as a tooltip.
pub fn datum(name: &str, exact: &str, shown: &str) -> String {
    let exact = escaped(exact);
    format!("<data data-figure=\"{}\" value=\"{exact}\" title=\"{exact}\">{}</data>", escaped(name), escaped(shown))
}

/// The cells of a table's row, text for text; numbers are aligned by the style sheet.
pub fn row(cells: &[String]) -> String {
    let mut out = "<tr>".to_owned();
    for cell in cells {
        let _ = write!(out, "<td>{}", escaped(cell));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_element() {
        assert_eq!(escaped("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(json(&serde_json::json!("</script>")), "\"\\u003c/script>\"");
        assert_eq!(row(&["<".to_owned()]), "<tr><td>&lt;");
    }
}
