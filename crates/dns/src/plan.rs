//! Which servers are asked which question: policy, main servers, fallback.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::time::Instant;

use crate::group::{Asking, Group};
use crate::message::Question;
use crate::resolver::Outcome;

/// Says whether a name (lower case, no trailing dot) is one of a set.
pub type NameMatch = Arc<dyn Fn(&str) -> bool + Send + Sync>;
/// Says whether an address is one of a set.
pub type AddressMatch = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;
/// Chooses one of several lists for a name (lower case, no trailing dot), by its index; `None`: none of them.
pub type Choose = Arc<dyn Fn(&str) -> Option<usize> + Send + Sync>;

/// How long the main servers may take before the fallback's answer counts (they are not asked to hurry without one).
const MAIN: Duration = Duration::from_secs(2);

/// What is asked where.
pub(crate) struct Plan {
    /// In order: the first that chooses a list decides.
    pub(crate) policy: Vec<(Choose, Vec<Group>)>,
    pub(crate) main: Group,
    pub(crate) fallback: Option<FallbackPlan>,
}

pub(crate) struct FallbackPlan {
    pub(crate) group: Group,
    /// Names that only the fallback is asked for.
    pub(crate) only: Option<NameMatch>,
    /// Addresses that the main servers are not believed.
    pub(crate) doubtful: AddressMatch,
    /// Asked only if the main servers are not believed.
    pub(crate) is_lazy: bool,
}

impl From<Group> for Plan {
    fn from(main: Group) -> Self {
        Self { policy: Vec::new(), main, fallback: None }
    }
}

impl Plan {
    /// Asks. What is still under way afterwards is in `left`.
    pub(crate) async fn ask(&self, question: &Question, deadline: Instant, left: &mut Vec<Asking>) -> Outcome {
        let name = question.text();
        if let Some(group) = name.as_deref().and_then(|name| self.by_policy(name)) {
            return ask(group, question, deadline, left).await;
        }
        // mihomo-surface.md §7.4
        let has_addresses = matches!(question.kind(), RecordType::A | RecordType::AAAA | RecordType::CNAME);
        let Some(fallback) = self.fallback.as_ref().filter(|_| has_addresses) else {
            return ask(&self.main, question, deadline, left).await;
        };
        if let (Some(only), Some(name)) = (&fallback.only, &name)
            && only(name)
        {
            return ask(&fallback.group, question, deadline, left).await;
        }
        let early = (!fallback.is_lazy).then(|| Asking::start(&fallback.group, question));
        let outcome = ask(&self.main, question, deadline.min(Instant::now() + MAIN), left).await;
        if fallback.believes(&outcome) {
            left.extend(early);
            return outcome;
        }
        let mut asking = early.unwrap_or_else(|| Asking::start(&fallback.group, question));
        let outcome = asking.first_good(deadline).await;
        left.push(asking);
        outcome
    }

    fn by_policy(&self, name: &str) -> Option<&Group> {
        self.policy.iter().find_map(|(choose, groups)| groups.get(choose(name)?))
    }
}

impl FallbackPlan {
    fn believes(&self, outcome: &Outcome) -> bool {
        outcome.as_ref().is_ok_and(|response| {
            let addresses = response.addresses();
            !addresses.is_empty() && !addresses.into_iter().any(|ip| (self.doubtful)(ip))
        })
    }
}

async fn ask(group: &Group, question: &Question, deadline: Instant, left: &mut Vec<Asking>) -> Outcome {
    let mut asking = Asking::start(group, question);
    let outcome = asking.first_good(deadline).await;
    left.push(asking);
    outcome
}
