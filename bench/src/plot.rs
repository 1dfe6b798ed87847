//! The plot, as SVG: each row that several were measured in, as bars, ours in another colour.

use std::fmt::Write as _;

use crate::figures::Results;
use crate::table::short;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
const BAR: f64 = 16.0;
const LINE: f64 = 22.0;

pub fn svg(results: &Results) -> String {
    let mut bars = String::new();
    let mut y = 30.0;
    for (row, all) in results.rows() {
        let spreads: Vec<_> =
            all.filter_map(|who| results.spread(row, who).map(|spread| (who.to_owned(), spread))).collect();
        if spreads.len() < 2 {
            continue;
        }
        writeln!(bars, r#"<text x="10" y="{y}" font-weight="bold">{}</text>"#, escaped(row)).ok();
        y += 10.0;
        let most = spreads.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
        let length = |value: f64| value / most * (WIDTH - LABELS - 100.0);
        for (who, spread) in &spreads {
            let colour = if who.starts_with("tgw") { "#1f6feb" } else { "#9aa4b2" };
            let (middle, text) = (y + BAR / 2.0, y + BAR - 4.0);
            let (from, to) = (LABELS + length(spread.least), LABELS + length(spread.most));
            writeln!(
                bars,
                r##"<text x="20" y="{text}">{}</text>
<rect x="{LABELS}" y="{y}" width="{:.1}" height="{BAR}" fill="{colour}"/>
<line x1="{from:.1}" x2="{to:.1}" y1="{middle}" y2="{middle}" stroke="#111"/>
<text x="{:.1}" y="{text}">{}</text>"##,
                escaped(who),
                length(spread.median),
                to + 6.0,
                short(spread.median)
            )
            .ok();
            y += LINE;
        }
        y += 20.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{bars}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
