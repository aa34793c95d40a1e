"""Secrets in the formats of their issuers, made at run time so that no file of the repository contains one."""

from __future__ import annotations

import base64
import hashlib
import json

DIGITS = "0123456789"
HEX = f"{DIGITS}abcdef"
WORD = f"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz{DIGITS}"


def word(length, alphabet=WORD, seed="canary"):
    """Return pseudo-random characters, the same at each call."""
    digest = hashlib.sha512(f"{seed} {length}".encode()).digest() * 4
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])


def _segment(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


UUID = "-".join(word(length, HEX) for length in (8, 4, 4, 4, 12))
JWT = f"{_segment({'alg': 'HS256'})}.{_segment({'sub': 'canary'})}.{word(43)}"

# name -> (kind, text that holds the secret, secret)
CANARIES = {
    name: (kind, template.format(secret), secret)
    for name, kind, template, secret in [
        ("Comflowy, in connect", "Comflowy key", "comflowy_nb.connect(url(1), key='{}')", word(24)),
        ("Comflowy, letters", "Comflowy key", 'connect("https://app.comflowy.com", key="{}")', "correcthorsebattery"),
        ("Comflowy, Secret", "Comflowy key", "connect(url, name='a', key=Secret('{}'))", word(24)),
        ("Comflowy, environ", "Comflowy key", 'os.environ["COMFLOWY_API_KEY"] = "{}"', word(24)),
        ("Comflowy, %env", "Comflowy key", "%env COMFLOWY_API_KEY={}", word(24)),
        ("Comflowy, %env with a space", "Comflowy key", "%env COMFLOWY_API_KEY {}", word(24)),
        ("Comflowy, a dictionary", "Comflowy key", 'env={{"COMFLOWY_API_KEY": "{}"}}', word(24)),
        ("Comflowy, request", "Comflowy key", "GET https://app.comflowy.com/api/open/v0/auth/token?ppt={}", word(24)),
        ("Replicate", "Replicate token", "REPLICATE = '{}'", "r8_" + word(37)),
        ("fal", "fal key", "{}", f"{UUID}:{word(32, HEX)}"),
        ("OpenAI", "OpenAI, Stability or similar key", "api_key={}", "sk-proj-" + word(40)),
        ("Stability", "OpenAI, Stability or similar key", "({})", "sk-" + word(48)),
        ("Anthropic", "OpenAI, Stability or similar key", "({})", "sk-ant-api03-" + word(60)),
        ("Hugging Face", "Hugging Face token", "login('{}')", "hf_" + word(34)),
        ("Hugging Face, organization", "Hugging Face token", "login('{}')", "api_org_" + word(34)),
        ("ComfyUI", "ComfyUI account key", '"api_key_comfy_org": "{}"', "comfyui-" + word(64, HEX)),
        ("Runpod", "Runpod key", "{}", "rpa_" + word(42)),
        ("Groq", "Groq key", "{}", "gsk_" + word(52)),
        ("GitHub", "GitHub token", "git clone {}", "ghp_" + word(36)),
        ("GitHub, fine-grained", "GitHub token", "{}", "github_pat_" + word(22) + "_" + word(59)),
        ("GitLab", "GitLab token", "{}", "glpat-" + word(20, WORD + "_-")),
        ("AWS", "AWS access key", "key = {}", "AKIA" + word(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        ("AWS, the secret", "key or token", 'aws_secret_access_key="{}"', word(40)),
        ("Alibaba", "Alibaba or Tencent access key", "{}", "LTAI" + word(20)),
        ("Tencent", "Alibaba or Tencent access key", "{}", "AKID" + word(32)),
        ("Google", "Google key", "{}", "AIza" + word(35)),
        ("Google, of a user", "Google access token", "{}", "ya29.a0" + word(60, WORD + "_-")),
        ("Google, of a service account", "Google access token", "{}", "ya29.c.b0" + word(60, WORD + "_-") + "..."),
        ("Slack", "Slack token", "{}", f"xoxb-{word(12, DIGITS)}-{word(24)}"),
        ("Slack, of an app", "Slack token", "{}", f"xapp-1-A{word(10, DIGITS)}-{word(13, DIGITS)}-{word(64, HEX)}"),
        ("Slack, of a browser", "Slack token", "{}", f"xoxc-{word(12, DIGITS)}-{word(24)}"),
        ("Stripe", "Stripe key", "{}", "sk_live_" + word(24)),
        ("PyPI", "PyPI token", "{}", "pypi-AgEI" + word(60)),
        ("npm", "npm token", "{}", "npm_" + word(36)),
        ("JSON web token", "JSON web token", "{}", JWT),
        ("basic auth", "password in a URL", "https://me:{}@host.example/x", word(12)),
        ("bearer", "authorization header", "Authorization: Bearer {}", word(32)),
        ("bearer, in a dictionary", "authorization header", "{{'Authorization': 'Bearer {}'}}", word(32)),
        ("fal header", "authorization header", "Authorization: Key {}", word(32)),
        ("signed, AWS", "signed URL", "https://a.example/i.png?X-Amz-Date=2&X-Amz-Signature={}", word(64, HEX)),
        ("signed, Azure", "signed URL", "https://a.example/i.png?sv=2&sig={}", word(43) + "%3D"),
        ("a named key", "key or token", "BFL_API_KEY={}", UUID),
        ("a private key", "private key", "-----BEGIN " + "PRIVATE KEY-----\n{}\n", word(64)),
    ]
}
TOKEN = "r8_" + word(37, seed="token")
TOKEN_KIND = "Replicate token"
