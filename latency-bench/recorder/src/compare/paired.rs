//! Two commands that ran in turn, pair by pair.

use super::median::{PAIRS_MAX, median_interval, pairs_needed};
use super::{Better, ComparedFigure, Comparison, Worse, median};

/// Probability with which equal commands are called a regression, over all figures that count. Half of the usual 5 %, since
/// only one side of it is a regression.
pub const ONE_SIDED_ERROR: f64 = 0.025;

/// A figure of every run of two commands.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedFigure {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Which way it gets better.
    pub better: Better,
    /// Whether it counts for the verdict of the whole.
    pub is_gating: bool,
    /// A's runs, in the order of the pairs.
    pub a: Vec<f64>,
    /// B's runs, in the order of the pairs.
    pub b: Vec<f64>,
}

/// Compares figures pair by pair. The error is shared out evenly among the figures that count, so that many figures do not
/// cry wolf more often than one.
///
/// # Panics
/// If a figure has not as many runs of A as of B, has more than [`PAIRS_MAX`], or a run that is no number.
#[must_use]
pub fn compare_pairs(a: String, b: String, threshold: f64, figures: Vec<PairedFigure>) -> Comparison {
    let gating = figures.iter().filter(|figure| figure.is_gating).count().max(1);
    let error = ONE_SIDED_ERROR / gating as f64;
    let pairs = figures.first().map_or(0, |figure| figure.a.len());
    let needed = pairs_needed(error);
    let compared = figures.into_iter().map(|figure| compared(figure, threshold, error)).collect();
    let method = format!(
        "{pairs} pairs in random order, intervals of the median ratio by the sign test, each end wrong with at most {:.2} %: \
         equal commands are called a regression at most once in {:.0}",
        error * 100.0,
        1.0 / ONE_SIDED_ERROR
    );
    let mut comparison = Comparison::new(a, b, threshold, method, compared);
    if pairs < needed {
        comparison.notes.push(format!("{pairs} pairs are too few for any verdict: take --repeat {needed} or more"));
    }
    comparison
}

fn compared(figure: PairedFigure, threshold: f64, error: f64) -> ComparedFigure {
    let PairedFigure { name, unit, better, is_gating, a, b } = figure;
    assert_eq!(a.len(), b.len(), "{name} has as many runs of A as of B");
    assert!(a.len() <= PAIRS_MAX, "{name} has {} pairs, at most {PAIRS_MAX}", a.len());
    let difference = |(a, b): (&f64, &f64)| match better {
        Better::Lower => ratio_ln(*b, *a),
        Better::Higher => ratio_ln(*a, *b),
    };
    let differences: Vec<f64> = a.iter().zip(&b).map(difference).collect();
    let worse =
        median_interval(&differences, error).map_or(Worse { ratio: 1.0, low: 0.0, high: None }, |interval| Worse {
            ratio: interval.median.exp(),
            low: interval.low.exp(),
            high: interval.high.is_finite().then(|| interval.high.exp()),
        });
    let verdict = worse.verdict(threshold);
    ComparedFigure { a: median(&a), b: median(&b), a_runs: a, b_runs: b, name, unit, better, is_gating, worse, verdict }
}

/// Logarithm of a ratio; a figure of 0 counts as the least that a recorder tells from it.
fn ratio_ln(one: f64, other: f64) -> f64 {
    let at_least = |value: f64| value.max(1e-9);
    (at_least(one) / at_least(other)).ln()
}

/// For each pair whether B runs first: a coin for each, so that what the first of a pair does to the second is as often for
/// one side as for the other. The same seed gives the same orders.
#[must_use]
pub fn shuffled_orders(pairs: usize, seed: u64) -> Vec<bool> {
    let mut random = Random(seed);
    (0..pairs).map(|_| random.next() >> 63 == 1).collect()
}

/// SplitMix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// Comparisons of each simulation.
    const REPEATS: usize = 1_000;
    const PAIRS: usize = 20;
    const THRESHOLD: f64 = 0.01;

    impl Random {
        /// Above 0, below 1.
        fn uniform(&mut self) -> f64 {
            ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.uniform().ln()).sqrt() * (core::f64::consts::TAU * self.uniform()).cos()
        }
    }

    /// How a run's time differs from the true one, by its place among all runs.
    type Noise = fn(&mut Random, usize) -> f64;

    const NOISES: [(&str, Noise); 4] = [
        ("normal", |random, _| 1.0 + 0.02 * random.normal()),
        // One run in eight is disturbed, some of those by a lot.
        ("heavy tails", |random, _| {
            let spike = if random.uniform() < 0.125 { 0.1 / random.uniform().powf(0.7) } else { 0.0 };
            1.0 + 0.012 * random.normal() + spike
        }),
        // The machine slows down by a third over the comparison, and swings.
        ("drift", |random, place| {
            let drift = 0.33 * place as f64 / (2 * PAIRS) as f64 + 0.05 * (place as f64 / 5.0).sin();
            1.0 + drift + 0.015 * random.normal()
        }),
        // The second run of a pair finds warm caches.
        ("order", |random, place| 1.0 - 0.03 * (place % 2) as f64 + 0.012 * random.normal()),
    ];

    /// Runs of A and B, B slower by `factor`, under a noise.
    fn runs(random: &mut Random, noise: Noise, factor: f64, is_shuffled: bool) -> (Vec<f64>, Vec<f64>) {
        let orders = if is_shuffled { shuffled_orders(PAIRS, random.next()) } else { vec![false; PAIRS] };
        let pair = |(place, b_first): (usize, bool)| {
            let (first, second) = (noise(random, 2 * place), noise(random, 2 * place + 1));
            let (a, b) = if b_first { (second, first) } else { (first, second) };
            (100.0 * a, 100.0 * b * factor)
        };
        orders.into_iter().enumerate().map(pair).unzip()
    }

    /// Share of comparisons that say regression.
    fn alarms(noise: Noise, factor: f64, is_regression: impl Fn(&[f64], &[f64]) -> bool) -> f64 {
        let mut random = Random(7);
        let found = (0..REPEATS).filter(|_| {
            let (a, b) = runs(&mut random, noise, factor, true);
            is_regression(&a, &b)
        });
        found.count() as f64 / REPEATS as f64
    }

    fn is_regression_at(threshold: f64) -> impl Fn(&[f64], &[f64]) -> bool {
        move |a, b| {
            let figure = PairedFigure {
                name: "time".to_owned(),
                unit: "ns".to_owned(),
                better: Better::Lower,
                is_gating: true,
                a: a.to_vec(),
                b: b.to_vec(),
            };
            let comparison = compare_pairs(String::new(), String::new(), threshold, vec![figure]);
            comparison.verdict == Verdict::Regression
        }
    }

    #[test]
    fn five_percent_are_found_and_equal_builds_are_left_alone_whatever_the_noise() {
        for (name, noise) in NOISES {
            let found = alarms(noise, 1.05, is_regression_at(THRESHOLD));
            let wolves = alarms(noise, 1.0, is_regression_at(THRESHOLD));
            // Without a threshold the error is the one that is stated, and not less than half of it.
            let stated = alarms(noise, 1.0, is_regression_at(0.0));
            eprintln!("{name}: found {found}, cried wolf {wolves}, without threshold {stated}");
            assert!(found >= 0.9, "{name}: found {found}");
            assert!(wolves < 0.05, "{name}: cried wolf {wolves}");
            assert!((0.005..0.035).contains(&stated), "{name}: {stated} without threshold");
        }
    }

    /// What the exact interval is better than: others on the same runs.
    #[test]
    fn simpler_rules_cry_wolf() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let by_means = |a: &[f64], b: &[f64]| mean(b) / mean(a) > 1.0 + THRESHOLD;
        let by_best = |a: &[f64], b: &[f64]| {
            let best = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
            best(b) / best(a) > 1.0 + THRESHOLD
        };
        let heavy = alarms(NOISES[1].1, 1.0, by_means);
        let drift = alarms(NOISES[2].1, 1.0, by_best);
        let bootstrapped = alarms(NOISES[0].1, 1.0, bootstrap_says_slower);
        let exact = alarms(NOISES[0].1, 1.0, is_regression_at(0.0));
        eprintln!("means {heavy}, best of {drift}, bootstrap {bootstrapped}, median {exact}");
        assert!(heavy > 0.2, "means over heavy tails cry wolf: {heavy}");
        assert!(drift > 0.1, "the best of a drifting machine cries wolf: {drift}");
        assert!(bootstrapped > exact, "a bootstrap of so few pairs cries wolf more often: {bootstrapped} and {exact}");
    }

    /// The 2.5 % percentile of resampled means of the differences lies above 0.
    fn bootstrap_says_slower(a: &[f64], b: &[f64]) -> bool {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b / a).ln()).collect();
        let mut random = Random(a[0].to_bits() ^ b[0].to_bits());
        let mut means: Vec<f64> = (0..400)
            .map(|_| {
                let resampled = (0..PAIRS).map(|_| differences[random.next() as usize % PAIRS]);
                resampled.sum::<f64>() / PAIRS as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        means[(400.0 * ONE_SIDED_ERROR) as usize] > 0.0
    }

    /// Always A first, on a machine where the second of a pair is faster: the reason for coins.
    #[test]
    fn a_fixed_order_takes_the_order_for_the_command() {
        let mut random = Random(3);
        let is_regression = is_regression_at(THRESHOLD);
        let mut found = 0;
        for _ in 0..200 {
            let (a, b) = runs(&mut random, NOISES[3].1, 1.0, false);
            found += u32::from(is_regression(&b, &a));
        }
        assert!(found > 100, "{found} of 200");
    }

    #[test]
    fn many_figures_do_not_cry_wolf_more_often_than_one() {
        let mut random = Random(11);
        let mut wolves = 0;
        for _ in 0..REPEATS {
            let figure = |number: usize, random: &mut Random| {
                let (a, b) = runs(random, NOISES[0].1, 1.0, true);
                let (name, unit) = (number.to_string(), "ns".to_owned());
                PairedFigure { name, unit, better: Better::Lower, is_gating: true, a, b }
            };
            let figures = (0..5).map(|number| figure(number, &mut random)).collect();
            let comparison = compare_pairs(String::new(), String::new(), 0.0, figures);
            wolves += u32::from(comparison.verdict == Verdict::Regression);
        }
        assert!(wolves < REPEATS as u32 / 25, "{wolves} of {REPEATS}");
    }

    #[test]
    fn higher_is_better_where_it_is_and_few_pairs_say_so() {
        let figure = |better, pairs: usize| PairedFigure {
            name: "rate".to_owned(),
            unit: String::new(),
            better,
            is_gating: true,
            a: vec![100.0; pairs],
            b: vec![90.0; pairs],
        };
        let of = |better, pairs| compare_pairs("a".to_owned(), "b".to_owned(), 0.01, vec![figure(better, pairs)]);
        assert_eq!(of(Better::Higher, 8).verdict, Verdict::Regression);
        assert_eq!(of(Better::Lower, 8).verdict, Verdict::Improvement);
        let few = of(Better::Higher, 3);
        assert_eq!(few.verdict, Verdict::CannotTell);
        assert!(few.notes[0].contains("--repeat 6"), "{:?}", few.notes);
        assert!((of(Better::Higher, 8).figures[0].worse.ratio - 100.0 / 90.0).abs() < 1e-12);
    }

    #[test]
    fn orders_are_the_seeds() {
        let orders = shuffled_orders(1_000, 5);
        assert_eq!(orders, shuffled_orders(1_000, 5));
        assert_ne!(orders, shuffled_orders(1_000, 6));
        let first = orders.iter().filter(|b_first| **b_first).count();
        assert!((430..570).contains(&first), "{first} of 1000");
    }
}
