//! Graphs and their instances.

use std::sync::Arc;

use cudarc::driver::sys::{CUgraph, CUgraphExec, CUstream};

use crate::errors::{CUresult, Out, answer};
use crate::state::{find, in_context};
use crate::work::Work;

/// A graph, or an instance of one: an instance keeps what the graph held.
pub(crate) struct Graph {
    pub(crate) context: usize,
    pub(crate) list: Arc<[Work]>,
}

/// Something to launch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    instance: Out<CUgraphExec>,
    graph: CUgraph,
    flags: u64,
) -> CUresult {
    answer("cuGraphInstantiate", || {
        in_context(|state, context| {
            // The flags of CUgraphInstantiate_flags.
            if flags > 0xf {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            let graph = find(&mut state.graphs, graph as usize, context)?;
            let list = Arc::clone(&graph.list);
            let handle = state.handle();
            state.instances.insert(handle, Graph { context, list });
            instance.put(handle as CUgraphExec)
        })
    })
}

/// Ends a graph; its instances stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: CUgraph) -> CUresult {
    answer("cuGraphDestroy", || {
        in_context(|state, context| {
            find(&mut state.graphs, graph as usize, context)?;
            state.graphs.remove(&(graph as usize));
            Ok(())
        })
    })
}

/// Queues what an instance holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(instance: CUgraphExec, stream: CUstream) -> CUresult {
    answer("cuGraphLaunch", || {
        in_context(|state, context| {
            let instance = find(&mut state.instances, instance as usize, context)?;
            let list = Arc::clone(&instance.list);
            for work in list.iter() {
                if let Err(code) = state.check(context, work) {
                    return Err(state.fail(context, code));
                }
            }
            state.submit(context, stream, Work::Graph(list))
        })
    })
}

/// Ends an instance; launches of it that are queued still come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(instance: CUgraphExec) -> CUresult {
    answer("cuGraphExecDestroy", || {
        in_context(|state, context| {
            find(&mut state.instances, instance as usize, context)?;
            state.instances.remove(&(instance as usize));
            Ok(())
        })
    })
}
