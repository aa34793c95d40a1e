"""Ratings and scores of images, read while runs end."""

from comflowy_nb.database.ratings import Review
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.tracking.reviews import best_review, read_reviews


def test_an_image_that_arrives_after_the_reviews_were_read_is_unrated(client, api):
    """An explorer stopped following its runs with a KeyError if an image arrived while it read the ratings."""
    api.live_statuses = ["running"] * 100_000
    run = client.submit("wf-1", {"3::cfg": 4}).run
    exploration = Exploration([run])
    early, of_exploration = read_reviews(run.images), exploration.reviews()
    api.live_statuses = []
    run.wait(60)
    (image,) = run.images
    assert early[image.token] == of_exploration[image.token] == best_review(run.images, early) == Review()
    image.rate(4)
    assert read_reviews(run.images)[image.token].own.rating == 4
