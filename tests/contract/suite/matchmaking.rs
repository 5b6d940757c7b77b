//! Seekers, offers and pairings.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Seeks and must be offered somebody; answers the offer's name.
async fn must_offer(node: &dyn Backplane, pool: &str, seeker: &Seeker) -> String {
    match node.seek(pool, seeker).await.unwrap() {
        Sought::Offered { offer } => offer,
        Sought::Waiting => panic!("{} waits", seeker.id),
    }
}

async fn must_wait(node: &dyn Backplane, pool: &str, seeker: &Seeker) {
    assert_eq!(
        node.seek(pool, seeker).await.unwrap(),
        Sought::Waiting,
        "{}",
        seeker.id
    );
}

/// A pool with one who waits at node a, whose mailbox is listened to, and another at node b.
struct Scene {
    pool: String,
    waiting: Seeker,
    ear: Ear,
    other: Seeker,
    other_ear: Ear,
}

impl Scene {
    async fn new(nodes: &Nodes) -> Scene {
        let (waiting, other) = (nodes.seeker("waiting", "ann"), nodes.seeker("other", "bob"));
        let pool = nodes.name("pool:600000.0");
        let scene = Scene {
            ear: Ear::new(&*nodes.a, &waiting.mailbox).await,
            other_ear: Ear::new(&*nodes.b, &other.mailbox).await,
            pool,
            waiting,
            other,
        };
        must_wait(&*nodes.a, &scene.pool, &scene.waiting).await;
        scene
    }

    /// The other seeks, and is offered the one who waits.
    async fn offered(nodes: &Nodes) -> (Scene, String) {
        let scene = Scene::new(nodes).await;
        let offer = must_offer(&*nodes.b, &scene.pool, &scene.other).await;
        (scene, offer)
    }
}

pub async fn a_seeker_waits_and_the_next_is_offered_to_him(nodes: Nodes) {
    timely(
        &nodes,
        Duration::ZERO,
        OFFER_TTL,
        |nodes: Nodes| async move {
            let (mut scene, offer) = Scene::offered(&nodes).await;
            let told = scene.ear.message().await;
            assert_eq!(told.topic, topic::OFFER);
            let expected = Offer {
                id: offer.clone(),
                pool: scene.pool.clone(),
                waiting: scene.waiting.id.clone(),
                user: scene.other.user.clone(),
                data: scene.other.data.clone(),
            };
            assert_eq!(Offer::decode(&told.body), Some(expected));
            let pairing = Bytes::from_static(b"{\"game\":1}\nand more\0");
            let accepted = nodes
                .a
                .accept_offer(&scene.pool, &offer, pairing.clone())
                .await;
            assert_eq!(accepted.unwrap(), Some(pairing.clone()));
            let told = scene.other_ear.message().await;
            let body = [offer.as_bytes(), b"\n", &pairing].concat();
            assert_eq!(told, message(topic::PAIRED, body));
            let settled = nodes.b.settle_offer(&scene.pool, &offer).await.unwrap();
            assert_eq!(settled, Some(pairing));
            // Both are out of the pool.
            let third = nodes.seeker("third", "carl");
            must_wait(&*nodes.c, &scene.pool, &third).await;
        },
    )
    .await;
}

pub async fn seeks_of_one_user_are_never_paired(nodes: Nodes) {
    let pool = nodes.name("pool");
    let tabs = ["tab1", "tab2", "tab3"].map(|tab| nodes.seeker(tab, "ann"));
    for (tab, node) in tabs.iter().zip(nodes.all()) {
        must_wait(&*node, &pool, tab).await;
    }
    let mut ear = Ear::new(&*nodes.a, &tabs[0].mailbox).await;
    must_offer(&*nodes.b, &pool, &nodes.seeker("bob", "bob")).await;
    let offer = Offer::decode(&ear.message().await.body).unwrap();
    assert_eq!(
        (offer.waiting, offer.user),
        (tabs[0].id.clone(), nodes.name("bob"))
    );
    // One user behind another of his own is still found.
    let mut ear = Ear::new(&*nodes.a, &tabs[1].mailbox).await;
    must_offer(&*nodes.b, &pool, &nodes.seeker("carl", "carl")).await;
    assert_eq!(ear.message().await.topic, topic::OFFER);
}

pub async fn the_longest_waiting_comes_first(nodes: Nodes) {
    let pool = nodes.name("pool");
    // Many of one user, so that they can wait together; named against the order they come in.
    let waiting: Vec<Seeker> = (0..8)
        .map(|index| nodes.seeker(&format!("seek{}", 9 - index), "ann"))
        .collect();
    for (index, seeker) in waiting.iter().enumerate() {
        must_wait(&*nodes.all()[index % 3], &pool, seeker).await;
        sleep(Duration::from_millis(3)).await;
    }
    // Renewing and repeating change no places.
    let ids: Vec<String> = waiting
        .iter()
        .rev()
        .map(|seeker| seeker.id.clone())
        .collect();
    assert_eq!(
        nodes.a.renew_seeks(&pool, &ids).await.unwrap(),
        Vec::<String>::new()
    );
    must_wait(&*nodes.a, &pool, &waiting[0]).await;
    for (index, seeker) in waiting.iter().enumerate() {
        let mut ear = Ear::new(&*nodes.c, &seeker.mailbox).await;
        let user = format!("user{index}");
        must_offer(&*nodes.b, &pool, &nodes.seeker(&user, &user)).await;
        let offer = Offer::decode(&ear.message().await.body).unwrap();
        assert_eq!(offer.waiting, seeker.id);
    }
}

pub async fn a_lapsed_seek_is_never_paired(nodes: Nodes) {
    let scene = Scene::new(&nodes).await;
    sleep(SEEK_TTL + Duration::from_millis(300)).await;
    must_wait(&*nodes.b, &scene.pool, &scene.other).await;
    let gone = nodes
        .a
        .renew_seeks(&scene.pool, std::slice::from_ref(&scene.waiting.id))
        .await;
    assert_eq!(gone.unwrap(), std::slice::from_ref(&scene.waiting.id));
    assert!(
        !nodes
            .a
            .cancel_seek(&scene.pool, &scene.waiting.id)
            .await
            .unwrap()
    );
    // He may seek again, and now the other waits longest.
    let mut scene = scene;
    must_offer(&*nodes.a, &scene.pool, &scene.waiting).await;
    assert_eq!(scene.other_ear.message().await.topic, topic::OFFER);
}

pub async fn a_lapsed_seek_behind_a_live_one_is_never_paired(nodes: Nodes) {
    timely(
        &nodes,
        3 * SEEK_TTL / 2,
        SEEK_TTL / 2,
        |nodes: Nodes| async move {
            let pool = nodes.name("pool");
            let (first, second) = (nodes.seeker("first", "ann"), nodes.seeker("second", "ann"));
            must_wait(&*nodes.a, &pool, &first).await;
            must_wait(&*nodes.a, &pool, &second).await;
            for _ in 0..3 {
                sleep(SEEK_TTL / 2).await;
                let ids = [first.id.clone()];
                assert_eq!(
                    nodes.a.renew_seeks(&pool, &ids).await.unwrap(),
                    Vec::<String>::new()
                );
            }
            let mut ear = Ear::new(&*nodes.a, &first.mailbox).await;
            must_offer(&*nodes.b, &pool, &nodes.seeker("third", "bob")).await;
            let offer = Offer::decode(&ear.message().await.body).unwrap();
            assert_eq!(offer.waiting, first.id);
            must_wait(&*nodes.b, &pool, &nodes.seeker("fourth", "carl")).await;
        },
    )
    .await;
}

pub async fn a_renewed_seek_lives_on(nodes: Nodes) {
    timely(
        &nodes,
        2 * SEEK_TTL,
        SEEK_TTL / 2,
        |nodes: Nodes| async move {
            let scene = Scene::new(&nodes).await;
            let stranger = nodes.name("stranger");
            for _ in 0..4 {
                sleep(SEEK_TTL / 2).await;
                let ids = [stranger.clone(), scene.waiting.id.clone()];
                let gone = nodes.c.renew_seeks(&scene.pool, &ids).await.unwrap();
                assert_eq!(gone, std::slice::from_ref(&stranger));
            }
            must_offer(&*nodes.b, &scene.pool, &scene.other).await;
            let ids = [scene.waiting.id.clone(), scene.other.id.clone()];
            let gone = nodes.a.renew_seeks(&scene.pool, &ids).await.unwrap();
            assert_eq!(gone, ids, "neither is in the pool any more");
        },
    )
    .await;
}

pub async fn a_cancelled_seek_is_never_paired(nodes: Nodes) {
    let scene = Scene::new(&nodes).await;
    assert!(
        nodes
            .b
            .cancel_seek(&scene.pool, &scene.waiting.id)
            .await
            .unwrap()
    );
    assert!(
        !nodes
            .b
            .cancel_seek(&scene.pool, &scene.waiting.id)
            .await
            .unwrap()
    );
    must_wait(&*nodes.b, &scene.pool, &scene.other).await;
    must_offer(&*nodes.a, &scene.pool, &scene.waiting).await;
    assert!(
        !nodes
            .b
            .cancel_seek(&scene.pool, &scene.other.id)
            .await
            .unwrap(),
        "offered"
    );
}

pub async fn pools_are_apart(nodes: Nodes) {
    let scene = Scene::new(&nodes).await;
    let elsewhere = nodes.name("elsewhere");
    must_wait(&*nodes.b, &elsewhere, &scene.other).await;
    let ids = [scene.waiting.id.clone()];
    assert_eq!(nodes.a.renew_seeks(&elsewhere, &ids).await.unwrap(), ids);
    assert!(
        !nodes
            .a
            .cancel_seek(&elsewhere, &scene.waiting.id)
            .await
            .unwrap()
    );
}

pub async fn a_repeated_seek_is_the_same_seek(nodes: Nodes) {
    timely(
        &nodes,
        Duration::ZERO,
        OFFER_TTL,
        |nodes: Nodes| async move {
            let mut scene = Scene::new(&nodes).await;
            for node in nodes.all() {
                must_wait(&*node, &scene.pool, &scene.waiting).await;
            }
            let offer = must_offer(&*nodes.b, &scene.pool, &scene.other).await;
            assert_eq!(
                must_offer(&*nodes.b, &scene.pool, &scene.other).await,
                offer
            );
            let pairing = Bytes::from_static(b"pairing");
            nodes
                .a
                .accept_offer(&scene.pool, &offer, pairing.clone())
                .await
                .unwrap();
            assert_eq!(
                must_offer(&*nodes.c, &scene.pool, &scene.other).await,
                offer
            );
            let settled = nodes.c.settle_offer(&scene.pool, &offer).await.unwrap();
            assert_eq!(settled, Some(pairing));
            assert_eq!(scene.ear.message().await.topic, topic::OFFER);
            nodes
                .a
                .publish(&scene.waiting.mailbox, message("mark", ""))
                .await
                .unwrap();
            scene
                .ear
                .nothing_before("mark", |signal| Some(signal.clone()))
                .await;
        },
    )
    .await;
}

pub async fn a_refused_offer_is_over(nodes: Nodes) {
    let (mut scene, offer) = Scene::offered(&nodes).await;
    for _ in 0..2 {
        nodes.a.refuse_offer(&scene.pool, &offer).await.unwrap();
    }
    assert_eq!(
        scene.other_ear.message().await,
        message(topic::REFUSED, offer.clone())
    );
    let accepted = nodes
        .a
        .accept_offer(&scene.pool, &offer, "late".into())
        .await;
    assert_eq!(accepted.unwrap(), None);
    assert_eq!(
        nodes.b.settle_offer(&scene.pool, &offer).await.unwrap(),
        None
    );
    // He who made it seeks on; he who refused it is out.
    must_wait(&*nodes.b, &scene.pool, &scene.other).await;
    let third = must_offer(&*nodes.c, &scene.pool, &nodes.seeker("third", "carl")).await;
    assert_ne!(third, offer);
}

pub async fn a_withdrawn_offer_is_over(nodes: Nodes) {
    let (scene, offer) = Scene::offered(&nodes).await;
    for _ in 0..2 {
        assert_eq!(
            nodes.b.settle_offer(&scene.pool, &offer).await.unwrap(),
            None
        );
    }
    let accepted = nodes
        .a
        .accept_offer(&scene.pool, &offer, "late".into())
        .await;
    assert_eq!(accepted.unwrap(), None);
    let unknown = nodes.name("unknown");
    assert_eq!(
        nodes.b.settle_offer(&scene.pool, &unknown).await.unwrap(),
        None
    );
    let accepted = nodes
        .a
        .accept_offer(&scene.pool, &unknown, "x".into())
        .await;
    assert_eq!(accepted.unwrap(), None);
    nodes.a.refuse_offer(&scene.pool, &unknown).await.unwrap();
}

pub async fn an_offer_lapses(nodes: Nodes) {
    let (scene, offer) = Scene::offered(&nodes).await;
    sleep(OFFER_TTL + Duration::from_millis(200)).await;
    let accepted = nodes
        .a
        .accept_offer(&scene.pool, &offer, "late".into())
        .await;
    assert_eq!(accepted.unwrap(), None);
    assert_eq!(
        nodes.b.settle_offer(&scene.pool, &offer).await.unwrap(),
        None
    );
    must_wait(&*nodes.b, &scene.pool, &scene.other).await;
}

pub async fn an_accepted_offer_stays_accepted(nodes: Nodes) {
    timely(&nodes, OFFER_TTL, OFFER_TTL, |nodes: Nodes| async move {
        let (mut scene, offer) = Scene::offered(&nodes).await;
        let pairing = Some(Bytes::from_static(b"first"));
        for text in ["first", "second"] {
            let accepted = nodes.a.accept_offer(&scene.pool, &offer, text.into()).await;
            assert_eq!(accepted.unwrap(), pairing, "the pairing that holds");
        }
        nodes.a.refuse_offer(&scene.pool, &offer).await.unwrap();
        sleep(OFFER_TTL + Duration::from_millis(200)).await;
        for node in nodes.all() {
            assert_eq!(
                node.settle_offer(&scene.pool, &offer).await.unwrap(),
                pairing
            );
        }
        assert_eq!(scene.other_ear.message().await.topic, topic::PAIRED);
        nodes
            .a
            .publish(&scene.other.mailbox, message("mark", ""))
            .await
            .unwrap();
        let refusal = |signal: &Signal| match signal {
            Signal::Message(message) => (message.topic == topic::REFUSED).then(|| message.clone()),
            _ => None,
        };
        scene.other_ear.nothing_before("mark", refusal).await;
    })
    .await;
}

pub async fn seeking_again_refuses_an_offer(nodes: Nodes) {
    timely(
        &nodes,
        Duration::ZERO,
        OFFER_TTL,
        |nodes: Nodes| async move {
            let (mut scene, offer) = Scene::offered(&nodes).await;
            must_wait(&*nodes.a, &scene.pool, &scene.waiting).await;
            assert_eq!(
                scene.other_ear.message().await,
                message(topic::REFUSED, offer.clone())
            );
            let accepted = nodes
                .a
                .accept_offer(&scene.pool, &offer, "late".into())
                .await;
            assert_eq!(accepted.unwrap(), None);
            let again = must_offer(&*nodes.b, &scene.pool, &scene.other).await;
            assert_ne!(again, offer);
            let accepted = nodes
                .a
                .accept_offer(&scene.pool, &again, "now".into())
                .await;
            assert_eq!(accepted.unwrap(), Some("now".into()));
        },
    )
    .await;
}

pub async fn a_pairing_lapses(nodes: Nodes) {
    let (scene, offer) = Scene::offered(&nodes).await;
    nodes
        .a
        .accept_offer(&scene.pool, &offer, "pairing".into())
        .await
        .unwrap();
    if !nodes.is_virtual() {
        return;
    }
    sleep(PAIRING_TTL - Duration::from_secs(1)).await;
    let settled = nodes.b.settle_offer(&scene.pool, &offer).await.unwrap();
    assert_eq!(settled, Some("pairing".into()));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        nodes.b.settle_offer(&scene.pool, &offer).await.unwrap(),
        None
    );
    must_wait(&*nodes.b, &scene.pool, &scene.other).await;
}

pub async fn accepting_and_settling_agree(nodes: Nodes) {
    let mut outcomes = HashMap::new();
    for round in 0..40 {
        let pool = nodes.name(&format!("pool{round}"));
        must_wait(
            &*nodes.a,
            &pool,
            &nodes.seeker(&format!("waiting{round}"), "ann"),
        )
        .await;
        let other = nodes.seeker(&format!("other{round}"), "bob");
        let offer = must_offer(&*nodes.b, &pool, &other).await;
        let (a, b, c) = (nodes.a.clone(), nodes.b.clone(), nodes.c.clone());
        let accept = spawn(round % 3, &pool, &offer, move |pool, offer| async move {
            a.accept_offer(&pool, &offer, "pairing".into())
                .await
                .unwrap()
        });
        let settle = spawn(round % 2, &pool, &offer, move |pool, offer| async move {
            b.settle_offer(&pool, &offer).await.unwrap()
        });
        let refuse = spawn(round % 5, &pool, &offer, move |pool, offer| async move {
            // In half of the rounds, he who waited both accepts and refuses.
            if round % 2 == 0 {
                c.refuse_offer(&pool, &offer).await.unwrap();
            }
        });
        let (accepted, settled) = (accept.await.unwrap(), settle.await.unwrap());
        refuse.await.unwrap();
        assert_eq!(accepted, settled, "round {round}");
        let after = nodes.c.settle_offer(&pool, &offer).await.unwrap();
        assert_eq!(after, settled, "round {round}");
        *outcomes.entry(settled.is_some()).or_insert(0) += 1;
    }
    assert_eq!(outcomes.len(), 2, "both outcomes were seen: {outcomes:?}");
}

/// Runs a call after some turns of the scheduler, so that each comes first at times.
fn spawn<F, T>(
    turns: usize,
    pool: &str,
    offer: &str,
    call: impl FnOnce(String, String) -> F,
) -> tokio::task::JoinHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let call = call(pool.into(), offer.into());
    tokio::spawn(async move {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        call.await
    })
}

pub async fn nobody_is_paired_twice(nodes: Nodes) {
    const USERS: usize = 40;
    let pool = nodes.name("pool");
    let tasks: Vec<_> = (0..USERS)
        .map(|user| {
            let (node, pool) = (nodes.all()[user % 3].clone(), pool.clone());
            // Two tabs of each second user.
            let seeker = nodes.seeker(
                &format!("seek{user}"),
                &format!("user{}", user / 2 * 2 + user % 4 / 2),
            );
            tokio::spawn(seek_until_paired(node, pool, seeker))
        })
        .collect();
    let mut pairs: HashMap<Bytes, Vec<Seeker>> = HashMap::new();
    for task in tasks {
        if let Some((pairing, seeker)) = task.await.unwrap() {
            pairs.entry(pairing).or_default().push(seeker);
        }
    }
    // On real servers some lapse, more of them the less time the machine has.
    let least = if nodes.is_virtual() {
        USERS / 2 - 2
    } else {
        USERS / 4
    };
    assert!(pairs.len() >= least, "{} pairs", pairs.len());
    for (pairing, pair) in pairs {
        let [one, other] = &pair[..] else {
            panic!("{pairing:?}: {pair:?}");
        };
        assert_ne!(one.user, other.user);
    }
}

/// What a node does for a seeker; answers the pairing, `None` if nobody is left.
async fn seek_until_paired(
    node: Arc<dyn Backplane>,
    pool: String,
    seeker: Seeker,
) -> Option<(Bytes, Seeker)> {
    let mut ear = Ear::new(&*node, &seeker.mailbox).await;
    let ids = [seeker.id.clone()];
    for _ in 0..8 {
        if let Sought::Offered { offer } = node.seek(&pool, &seeker).await.unwrap() {
            sleep(OFFER_TTL / 3).await;
            if let Some(pairing) = node.settle_offer(&pool, &offer).await.unwrap() {
                return Some((pairing, seeker));
            }
            continue;
        }
        // Waits, answers offers, and looks from time to time whether one was missed.
        loop {
            let waits = node.renew_seeks(&pool, &ids).await.unwrap().is_empty();
            // Who does not wait any more has an offer, which may still be on its way.
            let patience = if waits { SEEK_TTL / 4 } else { OFFER_TTL / 3 };
            let Ok(told) = tokio::time::timeout(patience, ear.message()).await else {
                if !waits {
                    break;
                }
                if node.cancel_seek(&pool, &seeker.id).await.unwrap() {
                    return None;
                }
                continue;
            };
            let Some(offer) = Offer::decode(&told.body).filter(|_| told.topic == topic::OFFER)
            else {
                continue;
            };
            assert_eq!(offer.waiting, seeker.id);
            let pairing = Bytes::from(format!("pairing of {}", offer.id));
            if let Some(pairing) = node.accept_offer(&pool, &offer.id, pairing).await.unwrap() {
                return Some((pairing, seeker));
            }
        }
    }
    None
}
