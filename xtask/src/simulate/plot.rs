//! Line charts as SVG, one beside the other: axes, curves, names. No more than that.

use std::fmt::Write as _;

/// Curves over one horizontal axis.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) curves: Vec<Curve>,
}

/// A named row of points.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 34.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 30.0;
const COLORS: [&str; 6] = ["#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555"];

/// A page of charts, two in a row.
pub(super) fn draw(head: &str, charts: &[Chart]) -> String {
    let rows = charts.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH, 40.0 + HEIGHT * float(rows));
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">"
    );
    let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>");
    let _ = writeln!(svg, "<text x=\"16\" y=\"24\" font-size=\"14\">{}</text>", escape(head));
    for (at, chart) in charts.iter().enumerate() {
        let (x, y) = (WIDTH * float(at % 2), 40.0 + HEIGHT * float(at / 2));
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw_chart(&mut svg, chart);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_chart(svg: &mut String, chart: &Chart) {
    let points = || chart.curves.iter().flat_map(|curve| curve.points.iter());
    let x_max = points().map(|point| point.0).fold(1e-9, f64::max);
    let y_max = points().map(|point| point.1).fold(1e-9, f64::max) * 1.05;
    let place = |(x, y): (f64, f64)| {
        let x = LEFT + x / x_max * (WIDTH - LEFT - RIGHT);
        let y = HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM);
        format!("{x:.1},{y:.1}")
    };
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"14\" font-weight=\"bold\">{}</text>", escape(&chart.title));
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let _ = writeln!(svg, "<path d=\"M{LEFT} {TOP} V{bottom} H{right}\" fill=\"none\" stroke=\"#333\"/>");
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let y = bottom - part * (HEIGHT - TOP - BOTTOM);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1} H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            y + 4.0,
            short(part * y_max)
        );
        let x = LEFT + part * (right - LEFT);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} d</text>",
            bottom + 14.0,
            short(part * x_max)
        );
    }
    for (at, (curve, color)) in chart.curves.iter().zip(COLORS.iter().cycle()).enumerate() {
        let points: Vec<String> = curve.points.iter().map(|point| place(*point)).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        );
        let x = LEFT + 90.0 * float(at);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"28\" fill=\"{color}\">{}</text>", escape(&curve.name));
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".into(),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[expect(clippy::cast_precision_loss, reason = "a handful of charts")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.1234, 1.26, 99.96, 1234.5].map(short), ["0", "0.123", "1.3", "100.0", "1234"]);
    }

    #[test]
    fn a_chart_without_points_is_a_chart() {
        let chart = Chart { title: "a < b".into(), curves: Vec::new() };
        let drawn = draw("head & tail", &[chart]);
        assert!(drawn.contains("a &lt; b") && drawn.contains("head &amp; tail"));
    }
}
