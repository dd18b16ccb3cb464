//! From a control-flow graph with any number of entries to structured control flow.
//!
//! Loops with several entries get a *dispatch* node in front, which becomes their
//! only one; the graph is reducible then, and its dominator tree with a
//! reverse post-order says where each block, loop and branch of the Wasm
//! function stands (Ramsey, "Beyond Relooper", ICFP 2022).

/// An edge: where control goes next, and which block it is meant for. They differ when it goes through dispatch nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: usize,
    pub(crate) label: usize,
}

/// A graph whose node 0 is the root. Nodes are added, none removed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// Successors of each node, in the order in which its code names them.
    pub(crate) successors: Vec<Vec<Edge>>,
    /// Nodes below this number are the caller's, those from here on dispatch.
    dispatches_from: usize,
}

/// Where everything stands.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Position in reverse post-order; `usize::MAX` for unreachable nodes.
    pub(crate) order: Vec<usize>,
    /// Dominator-tree children that more than one forward edge goes to (or that a table must name), by order.
    pub(crate) merges: Vec<Vec<usize>>,
    pub(crate) is_merge: Vec<bool>,
    pub(crate) is_loop: Vec<bool>,
    /// Reachable nodes that go to each.
    pub(crate) predecessors: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph with these edges, each to the block it is meant for.
    pub(crate) fn new(successors: Vec<Vec<usize>>) -> Graph {
        let successors: Vec<Vec<Edge>> = successors
            .into_iter()
            .map(|list| list.into_iter().map(|to| Edge { to, label: to }).collect())
            .collect();
        let dispatches_from = successors.len();
        Graph { successors, dispatches_from }
    }

    /// A dispatch node in front of all that `node` goes to.
    pub(crate) fn dispatch_from(&mut self, node: usize) {
        let dispatch = self.successors.len();
        let edges = self.successors[node].clone();
        self.successors[node].iter_mut().for_each(|edge| edge.to = dispatch);
        self.successors.push(edges);
    }

    /// Whether a node is a dispatch node: it goes where the label says.
    pub(crate) fn is_dispatch(&self, node: usize) -> bool {
        node >= self.dispatches_from
    }

    /// Add dispatch nodes until no loop has two entries.
    pub(crate) fn reduce(&mut self) {
        let all: Vec<usize> = (0..self.successors.len()).collect();
        let mut headers = vec![false; self.successors.len()];
        let mut work = vec![all];
        while let Some(nodes) = work.pop() {
            for component in self.components(&nodes, &headers) {
                let inside = self.set(&component);
                let entries = self.entries(&inside, &component);
                let header = match entries.as_slice() {
                    [one] => *one,
                    // Unreachable from outside: nothing will be emitted.
                    [] => component[0],
                    several
                        if let Some(&dispatch) = component.iter().find(|&&node| self.is_dispatch(node)) =>
                    {
                        self.enter_by(dispatch, &inside, several);
                        dispatch
                    }
                    // From outside, to all of them; from inside, to the first, which is the outermost header in
                    // most code. Loops around the others stay loops.
                    several => {
                        let dispatch = self.successors.len();
                        for (from, edges) in self.successors.iter_mut().enumerate() {
                            for edge in edges.iter_mut() {
                                let enters = !inside[from] && several.contains(&edge.to);
                                if enters || edge.to == several[0] {
                                    edge.to = dispatch;
                                }
                            }
                        }
                        self.successors.push(several.iter().map(|&to| Edge { to, label: to }).collect());
                        headers.push(false);
                        dispatch
                    }
                };
                headers[header] = true;
                let mut nested = component;
                if !nested.contains(&header) {
                    nested.push(header);
                }
                work.push(nested);
            }
        }
    }

    /// The largest loops in which none of these nodes lie.
    pub(crate) fn loops_without(&self, nodes: &[bool]) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut headers = vec![false; self.successors.len()];
        let mut work = vec![(0..self.successors.len()).collect::<Vec<_>>()];
        while let Some(part) = work.pop() {
            for component in self.components(&part, &headers) {
                if !component.iter().any(|&node| nodes[node]) {
                    found.push(component);
                    continue;
                }
                let inside = self.set(&component);
                let header = self.entries(&inside, &component).first().copied().unwrap_or(component[0]);
                headers[header] = true;
                work.push(component);
            }
        }
        found
    }

    /// Let all edges from outside to these entries of a component go to the dispatch node in it.
    fn enter_by(&mut self, dispatch: usize, inside: &[bool], entries: &[usize]) {
        let outside = self.successors.iter_mut().zip(inside).filter(|(_, inside)| !*inside);
        for edge in outside.flat_map(|(edges, _)| edges).filter(|edge| entries.contains(&edge.to)) {
            edge.to = dispatch;
        }
        for &to in entries.iter().filter(|&&to| to != dispatch) {
            let edge = Edge { to, label: to };
            if !self.successors[dispatch].contains(&edge) {
                self.successors[dispatch].push(edge);
            }
        }
    }

    fn set(&self, nodes: &[usize]) -> Vec<bool> {
        let mut set = vec![false; self.successors.len()];
        nodes.iter().for_each(|&node| set[node] = true);
        set
    }

    /// Nodes of a component that edges from outside go to.
    fn entries(&self, inside: &[bool], component: &[usize]) -> Vec<usize> {
        let mut entered = vec![false; self.successors.len()];
        for (from, edges) in self.successors.iter().enumerate().filter(|&(from, _)| !inside[from]) {
            let _ = from;
            edges.iter().for_each(|edge| entered[edge.to] = true);
        }
        component.iter().copied().filter(|&node| entered[node]).collect()
    }

    /// Strongly connected components of a part of the graph, without edges to headers: those that are loops.
    fn components(&self, nodes: &[usize], headers: &[bool]) -> Vec<Vec<usize>> {
        let inside = self.set(nodes);
        let follows = |edge: &Edge| inside[edge.to] && !headers[edge.to];
        let mut state = Tarjan {
            index: vec![usize::MAX; self.successors.len()],
            low: vec![0; self.successors.len()],
            on_stack: vec![false; self.successors.len()],
            stack: Vec::new(),
            next: 0,
        };
        let mut found = Vec::new();
        for &start in nodes {
            if state.index[start] != usize::MAX {
                continue;
            }
            // Node and the next of its edges: recursion would be as deep as the guest likes.
            let mut path = vec![(start, 0)];
            state.enter(start);
            while let Some(&mut (node, ref mut position)) = path.last_mut() {
                let edges = &self.successors[node];
                if let Some(edge) = edges.get(*position) {
                    *position += 1;
                    if !follows(edge) {
                        continue;
                    }
                    if state.index[edge.to] == usize::MAX {
                        state.enter(edge.to);
                        path.push((edge.to, 0));
                    } else if state.on_stack[edge.to] {
                        state.low[node] = state.low[node].min(state.index[edge.to]);
                    }
                    continue;
                }
                path.pop();
                if let Some(&(parent, _)) = path.last() {
                    state.low[parent] = state.low[parent].min(state.low[node]);
                }
                if state.low[node] == state.index[node] {
                    let component = state.leave(node);
                    let itself = |edge: &Edge| edge.to == node && follows(edge);
                    if component.len() > 1 || self.successors[node].iter().any(itself) {
                        found.push(component);
                    }
                }
            }
        }
        found
    }

    /// Order, dominators and merges of a graph without loops of several entries; see [`Graph::reduce`].
    pub(crate) fn layout(&self) -> Layout {
        let count = self.successors.len();
        let post = self.post_order();
        let mut order = vec![usize::MAX; count];
        let reverse: Vec<usize> = post.into_iter().rev().collect();
        reverse.iter().enumerate().for_each(|(position, &node)| order[node] = position);
        let mut predecessors = vec![Vec::new(); count];
        for &from in &reverse {
            for edge in &self.successors[from] {
                predecessors[edge.to].push(from);
            }
        }
        let dominator = dominators(&reverse, &order, &predecessors);
        let dominates = |above: usize, mut node: usize| {
            while order[node] > order[above] {
                node = dominator[node];
            }
            node == above
        };
        let (mut is_loop, mut is_merge) = (vec![false; count], vec![false; count]);
        let mut forward = vec![0; count];
        for &from in &reverse {
            let table = from == 0 || self.is_dispatch(from);
            for edge in &self.successors[from] {
                if order[edge.to] <= order[from] {
                    debug_assert!(dominates(edge.to, from), "a loop with two entries");
                    is_loop[edge.to] = true;
                } else {
                    // Both ways of one branch to the same place are two edges.
                    forward[edge.to] += if table { 2 } else { 1 };
                }
            }
        }
        let mut merges = vec![Vec::new(); count];
        for &node in reverse.iter().skip(1) {
            is_merge[node] = forward[node] > 1;
            if is_merge[node] {
                merges[dominator[node]].push(node);
            }
        }
        Layout { order, merges, is_merge, is_loop, predecessors }
    }

    fn post_order(&self) -> Vec<usize> {
        let mut seen = vec![false; self.successors.len()];
        let mut post = Vec::new();
        let mut path = vec![(0, 0)];
        seen[0] = true;
        while let Some(&mut (node, ref mut position)) = path.last_mut() {
            match self.successors[node].get(*position) {
                Some(edge) => {
                    *position += 1;
                    if !std::mem::replace(&mut seen[edge.to], true) {
                        path.push((edge.to, 0));
                    }
                }
                None => {
                    post.push(node);
                    path.pop();
                }
            }
        }
        post
    }
}

struct Tarjan {
    index: Vec<usize>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    next: usize,
}

impl Tarjan {
    fn enter(&mut self, node: usize) {
        self.index[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.on_stack[node] = true;
        self.stack.push(node);
    }

    fn leave(&mut self, root: usize) -> Vec<usize> {
        let mut component = Vec::new();
        while let Some(node) = self.stack.pop() {
            self.on_stack[node] = false;
            component.push(node);
            if node == root {
                break;
            }
        }
        component.sort_unstable();
        component
    }
}

/// Immediate dominators (Cooper, Harvey and Kennedy).
fn dominators(reverse: &[usize], order: &[usize], predecessors: &[Vec<usize>]) -> Vec<usize> {
    let mut dominator = vec![usize::MAX; order.len()];
    dominator[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for &node in reverse.iter().skip(1) {
            let mut new = usize::MAX;
            for &from in predecessors[node].iter().filter(|&&from| dominator[from] != usize::MAX) {
                let (mut a, mut b) = (if new == usize::MAX { from } else { new }, from);
                while a != b {
                    while order[a] > order[b] {
                        a = dominator[a];
                    }
                    while order[b] > order[a] {
                        b = dominator[b];
                    }
                }
                new = a;
            }
            if dominator[node] != new {
                dominator[node] = new;
                changed = true;
            }
        }
    }
    dominator
}
