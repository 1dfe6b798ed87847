//! Whether the work goes on: a look at the whole graph of a model's states.

use std::collections::HashMap;
use std::hash::Hash;

use stateright::Model;

/// A model whose failures can cease.
pub trait Heals: Model {
    /// Whether the step is none of a failure or of a choice, but one that is taken sooner or later.
    fn heals(action: &Self::Action) -> bool;

    /// Nothing is lost and all is done.
    fn is_well(&self, state: &Self::State) -> bool;
}

/// From every state that can be reached, each way on without further failures ends, and ends well: the graph of the
/// steps that heal has no cycle, and who stands at the end of it is well. That takes no fairness but that something
/// which can happen does. The error is a way to a state that rests without being well, or from which some way never
/// ends.
pub fn goes_on<M>(model: &M) -> Result<usize, (M::State, Vec<M::Action>)>
where
    M: Heals,
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    let graph = Graph::of(model);
    let ill = |at: &usize| graph.out[*at] == 0 && !model.is_well(&graph.states[*at]);
    if let Some(at) = (0..graph.states.len()).find(ill) {
        return Err((graph.states[at].clone(), graph.way_to(at)));
    }
    // Whatever ends is taken off from its end; a cycle, and what leads into it, is left.
    let mut out = graph.out.clone();
    let mut ends: Vec<usize> = (0..out.len()).filter(|at| out[*at] == 0).collect();
    while let Some(at) = ends.pop() {
        for before in &graph.into[at] {
            out[*before] -= 1;
            if out[*before] == 0 {
                ends.push(*before);
            }
        }
    }
    match out.iter().position(|left| *left > 0) {
        Some(at) => Err((graph.states[at].clone(), graph.way_to(at))),
        None => Ok(out.len()),
    }
}

struct Graph<M: Model> {
    states: Vec<M::State>,
    /// How each state was found.
    from: Vec<Option<(usize, M::Action)>>,
    /// How many steps that heal lead on.
    out: Vec<u16>,
    /// From where steps that heal lead here.
    into: Vec<Vec<usize>>,
}

impl<M: Heals> Graph<M>
where
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    fn of(model: &M) -> Self {
        let mut known: HashMap<M::State, usize> = HashMap::new();
        let mut graph = Self { states: Vec::new(), from: Vec::new(), out: Vec::new(), into: Vec::new() };
        for state in model.init_states() {
            graph.place(&mut known, state, || None);
        }
        let (mut at, mut actions) = (0, Vec::new());
        while at < graph.states.len() {
            let state = graph.states[at].clone();
            model.actions(&state, &mut actions);
            for action in actions.drain(..) {
                let next = model.next_state(&state, action.clone());
                let Some(next) = next.filter(|next| model.within_boundary(next)) else { continue };
                let to = graph.place(&mut known, next, || Some((at, action.clone())));
                if M::heals(&action) {
                    graph.out[at] += 1;
                    graph.into[to].push(at);
                }
            }
            at += 1;
        }
        graph
    }

    fn place(
        &mut self,
        known: &mut HashMap<M::State, usize>,
        state: M::State,
        from: impl FnOnce() -> Option<(usize, M::Action)>,
    ) -> usize {
        *known.entry(state).or_insert_with_key(|state| {
            self.states.push(state.clone());
            self.from.push(from());
            self.out.push(0);
            self.into.push(Vec::new());
            self.states.len() - 1
        })
    }

    fn way_to(&self, mut at: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        while let Some((before, action)) = &self.from[at] {
            way.push(action.clone());
            at = *before;
        }
        way.reverse();
        way
    }
}
