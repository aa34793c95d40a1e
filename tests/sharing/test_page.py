"""The content of an explorer's page, and its content security policy. `tests/browser` opens the page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

from explorer_pages import CFG, document, images_of

from comflowy_nb.sharing.page import page_html


def policy_of(page):
    return html.unescape(re.search(r'Security-Policy" content="([^"]+)"', page)[1])


def test_a_page_holds_its_document_and_images_and_no_address():
    content = document((CFG,))
    full = {"r1[0]": ("image/jpeg", b"full")}
    page = page_html(content, images_of(content), full)
    held = json.loads(re.search(r'id="explorer">(.*?)</script>', page)[1])
    assert held["document"] == content
    assert held["thumbs"]["r2[0]"] == {"kind": "image/png", "id": "t1"}
    assert held["fulls"] == {"r1[0]": {"kind": "image/jpeg", "id": "f0"}}
    assert base64.b64decode(re.search(r'id="f0">([^<]*)<', page)[1]) == b"full"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_policy_names_the_script_and_the_style_by_their_hashes():
    page = page_html(document((CFG,)), {}, {})
    for element, rule in (("style", "style-src"), ('script type="module"', "script-src")):
        text = re.search(rf"<{element}>(.*?)</{element.split()[0]}>", page, re.DOTALL)[1]
        sha256 = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} 'sha256-{sha256}'" in policy_of(page)
    assert "unsafe" not in policy_of(page)
    assert "default-src 'none'" in policy_of(page)


def test_images_beside_the_page_are_named_by_their_address():
    content = document((CFG,))
    page = page_html(content, {"r1[0]": ("image/jpeg", "images/s1.1.jpg")}, {})
    held = json.loads(re.search(r'id="explorer">(.*?)</script>', page)[1])
    assert held["thumbs"] == {"r1[0]": {"kind": "image/jpeg", "url": "images/s1.1.jpg"}}
    assert "img-src data: blob: 'self' file:;" in policy_of(page)


def test_text_of_the_document_can_not_close_an_element():
    hostile = "</script><script>alert(1)</script><!--"
    page = page_html(document((CFG,), title=hostile), {}, {})
    assert page.count("</script>") == page.count("<script ")
    assert f"<title>{html.escape(hostile)}</title>" in page
