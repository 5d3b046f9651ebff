//! Draws the full-screen view. Curves differ by marker, and by colour where colours are wanted.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Clear, Dataset, Gauge, GraphType, Paragraph};

use super::view::{Curves, View};
use crate::pace::about;

/// Smaller screens show no curves.
const CURVES: (u16, u16) = (60, 16);

const HELP: [&str; 5] = [
    "s       save the state after this step",
    "q, ^C   stop after this step; the state is saved",
    "        once more: stop at once",
    "?       show or hide this help",
    "+ train   x validation   . this epoch, smoothed",
];

/// Draws the view as it is at `now`, in seconds.
pub(super) fn draw(frame: &mut Frame, view: &View, now: f64) {
    let area = frame.area();
    let has_curves = area.width >= CURVES.0 && area.height >= CURVES.1;
    let curves = match has_curves {
        true => Constraint::Fill(2),
        false => Constraint::Length(0),
    };
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        curves,
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [title, figures, epoch, run, curves, log, keys] = parts.areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(view.title.as_str(), bold), title);
    frame.render_widget(Line::raw(figure_line(view)), figures);
    let doing = match view.pace.is_validating() {
        true => "validating",
        false => "training",
    };
    let label = format!(
        "epoch {}/{}, {doing}",
        view.pace.epoch.min(view.pace.epochs),
        view.pace.epochs
    );
    gauge(frame, view, epoch, view.pace.epoch_share(), label);
    let left = view
        .pace
        .left(now)
        .map(|left| format!(", {} to go", about(left)));
    let label = format!(
        "run {:.0} %{}",
        100.0 * view.pace.share(),
        left.unwrap_or_default()
    );
    gauge(frame, view, run, view.pace.share(), label);
    if has_curves {
        let [loss, accuracy] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(curves);
        chart(frame, view, loss, "loss", &view.loss);
        chart(frame, view, accuracy, "accuracy", &view.accuracy);
    }
    let skipped = view.lines.len().saturating_sub(log.height.into());
    let lines = view.lines.iter().skip(skipped);
    let lines: Vec<Line> = lines.map(|line| Line::raw(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines), log);
    let text = match view.is_stopping {
        true => "stopping after this step; q stops at once",
        false => "s save  q stop  ? help",
    };
    frame.render_widget(Line::styled(text, bold), keys);
    if view.shows_help {
        help(frame, area);
    }
}

fn figure_line(view: &View) -> String {
    let speed = view.pace.images_per_second();
    let parts = [
        speed.map(|speed| format!("{speed:.0} images/s")),
        view.learning_rate.map(|rate| format!("rate {rate:.2e}")),
        view.memory
            .map(|bytes| format!("{} MiB memory", bytes >> 20)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("  ")
}

fn coloured(view: &View, colour: Color) -> Style {
    match view.is_coloured {
        true => Style::new().fg(colour),
        false => Style::new(),
    }
}

fn gauge(frame: &mut Frame, view: &View, area: Rect, share: f64, label: String) {
    // Without colours the filled part is reversed.
    let gauge = Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label);
    frame.render_widget(gauge.gauge_style(coloured(view, Color::Cyan)), area);
}

fn chart(frame: &mut Frame, view: &View, area: Rect, name: &str, curves: &Curves) {
    let kinds = [
        (&curves.batches, '.', Color::Gray),
        (&curves.train, '+', Color::Cyan),
        (&curves.validation, 'x', Color::Yellow),
    ];
    let points = kinds.iter().flat_map(|(points, ..)| points.iter());
    let heights = points.map(|point| point.1).filter(|y| y.is_finite());
    let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
        (low.min(y), high.max(y))
    });
    let (low, high) = match low < high {
        true => (low, high),
        false if low.is_finite() => (low - 0.5, low + 0.5),
        false => (0.0, 1.0),
    };
    let sets = kinds.map(|(points, marker, colour)| {
        Dataset::default()
            .marker(Marker::Custom(marker))
            .graph_type(GraphType::Scatter)
            .style(coloured(view, colour))
            .data(points)
    });
    let epochs = view.pace.epochs.max(1);
    let x = Axis::default()
        .bounds([0.0, epochs as f64])
        .labels(["0".to_owned(), epochs.to_string()]);
    let y = Axis::default()
        .bounds([low, high])
        .labels([format!("{low:.3}"), format!("{high:.3}")]);
    let title = format!("{name}: + train x validation . now");
    let chart = Chart::new(sets.into()).x_axis(x).y_axis(y);
    frame.render_widget(chart.block(Block::bordered().title(title)), area);
}

fn help(frame: &mut Frame, area: Rect) {
    let width = 52.min(area.width);
    let height = (HELP.len() as u16 + 2).min(area.height);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let lines: Vec<Line> = HELP.into_iter().map(Line::raw).collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title("Keys")),
        place,
    );
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::pace::tests::{batch, epoch_started, finished, started};

    fn view() -> View {
        let mut view = View::new();
        for (event, now) in [
            (started(4, 0), 0.0),
            (epoch_started(1), 0.0),
            (finished(1), 5.0),
            (epoch_started(2), 5.0),
            (batch(2, 1), 6.0),
            (batch(2, 5), 10.0),
        ] {
            view.handle(&event, now);
        }
        view.memory = Some(300 << 20);
        view.line("epoch 1/4: train loss".to_owned());
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view, 10.0)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_view_shows_figures_progress_curves_and_lines() {
        let screen = screen(&view(), 80, 24);
        for text in [
            "mobilenet_v3_small · runs/a-001",
            "10 images/s  rate 1.00e-3  300 MiB memory",
            "epoch 2/4, training",
            "run 38 %, about",
            "loss: + train x validation . now",
            "accuracy: + train",
            "epoch 1/4: train loss",
            "s save  q stop  ? help",
        ] {
            assert!(screen.contains(text), "{text:?} is not in\n{screen}");
        }
    }

    #[test]
    fn a_small_screen_leaves_the_curves_out() {
        let screen = screen(&view(), 40, 10);
        assert!(
            screen.contains("epoch 2/4") && screen.contains("s save"),
            "{screen}"
        );
        assert!(!screen.contains("validation ."), "{screen}");
    }

    #[test]
    fn every_size_is_drawn() {
        let mut view = view();
        for shows_help in [false, true] {
            view.shows_help = shows_help;
            for (width, height) in [(1, 1), (5, 3), (40, 10), (60, 16), (200, 60)] {
                screen(&view, width, height);
            }
        }
        screen(&View::new(), 80, 24);
    }

    #[test]
    fn without_colours_curves_differ_by_marker() {
        let mut view = view();
        view.is_coloured = false;
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &view, 10.0)).unwrap();
        let buffer = terminal.backend().buffer();
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
        view.is_coloured = true;
        terminal.draw(|frame| draw(frame, &view, 10.0)).unwrap();
        let buffer = terminal.backend().buffer();
        assert!(buffer.content().iter().any(|cell| cell.fg == Color::Yellow));
    }
}
