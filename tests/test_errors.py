"""The suggestions in the texts of errors."""

from comflowy_nb.errors import did_you_mean, nearest, nearest_tip


def test_the_nearest_words_are_sorted_by_similarity_without_regard_to_case():
    assert nearest("EULR", ["heun", "euler", "eular_x"])[0] == "euler"
    assert nearest("dpm", ["dpm_2", "euler", "dpmpp_2m_sde_heun_gpu"]) == ["dpm_2", "dpmpp_2m_sde_heun_gpu"]
    assert nearest("xyz", ["euler"]) == []
    assert nearest("sweep", ["where", "workflow"]) == nearest("--frsh", ["--as", "--label"]) == []
    assert len(nearest("a", ["a1", "a2", "a3", "a4"])) <= 3


def test_a_shared_suffix_does_not_make_names_of_files_similar():
    assert nearest("sdxl.safetensors", ["watercolour.safetensors", "sdxl-base.safetensors"]) == [
        "sdxl-base.safetensors"
    ]
    assert nearest("sdxl.safetensors", ["watercolour.safetensors"]) == []
    assert nearest("photo.jpg", ["photos.jpg"]) == ["photos.jpg"]


def test_suggestions_are_a_question():
    assert did_you_mean(["a"]) == ". Did you mean a?"
    assert did_you_mean(["a", "b", "c"]) == ". Did you mean a, b or c?"
    assert did_you_mean([]) == nearest_tip("xyz", ["euler"]) == ""
