"""Published chat templates and what transformers renders with them: chat_templates.jsonl.zst.

    python make_chat_templates.py LLAMA_CPP        (vendor/llama.cpp of the unpacked llama-cpp-python 0.3.36 source package)

Texts come from that llama.cpp (models/templates, vocabularies, and the cases of test-chat-template.cpp, which quote the
models' own); those that it lacks are written here as published. An answer is what {% generation %} marks in a copy of
the text: MARKS says where it goes, and marking may not change what is rendered. Prints the digests for
apps/text/chat_template.cc. README.md has the format.
"""
import json
import os
import re
import sys

import gguf
import jinja2
import zstandard
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
BEGIN, END = "{% generation %}", "{% endgeneration %}"
DATE = "26 Jul 2024"

CHATML = ("{% for message in messages %}SYSTEM{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
CHATML_SYSTEM = "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nTEXT<|im_end|>\n' }}{% endif %}"
SMOLLM2 = CHATML.replace("SYSTEM", CHATML_SYSTEM.replace("TEXT", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"))
LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
          "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
          "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
LLAMA3_PROMPT = re.search(r"{% if add_generation_prompt %}(.*){% endif %}$", LLAMA3, re.DOTALL)
LLAMA2 = (r"{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
          r"{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
          r"{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
          r"{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
          r"{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
          r"{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
          r"{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
          r"{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
GEMMA3 = r"""{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""
ZEPHYR = ("{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
          "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n"
          "{% endif %}\n{% endfor %}")


def answer(text):
    return "{% if message['role'] == 'assistant' %}" + BEGIN + text + END + "{% else %}" + text + "{% endif %}"


def header_and_answer(header, text, tail=""):
    """{{- header + text + tail }} with the text of the assistant marked."""
    emit = "{{- %s }}"
    return emit % header + answer(emit % text) + (emit % tail if tail else "")


CHATML_MARK = [("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}",
                header_and_answer(r"'<|im_start|>' + message['role'] + '\n'", "message['content'] + '<|im_end|>'", r"'\n'"))]
LLAMA3_MARK = [("{{ content }}", "{% set said = message['content'] | trim + '<|eot_id|>' %}{{ content[:content | length - said | length] }}" + answer("{{ said }}"))]
LLAMA31_MARK = [("{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}",
                 header_and_answer(r"'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'", "message['content'] | trim + '<|eot_id|>'"))]
QWEN25_MARK = [(r"{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}",
                header_and_answer(r"'<|im_start|>' + message.role + '\n'", "message.content + '<|im_end|>'", r"'\n'"))]
THOUGHT = r"'<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n'"
QWEN3_MARK = [
    (r"{{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}",
     r"{{- '<|im_start|>' + message.role + '\n' }}{% if enable_thinking is defined and enable_thinking is false and not reasoning_content %}{{ "
     + THOUGHT + " }}" + BEGIN + r"{{- content.lstrip('\n') + '<|im_end|>' }}" + END + "{% else %}" + BEGIN + "{{- " + THOUGHT +
     r" + content.lstrip('\n') + '<|im_end|>' }}" + END + "{% endif %}"),
    (r"{{- '<|im_start|>' + message.role + '\n' + content }}",
     r"{{- '<|im_start|>' + message.role + '\n' }}" + BEGIN + "{{- content + '<|im_end|>' }}" + END),
    ("        {%- endif %}\n        {{- '<|im_end|>\\n' }}\n    {%- elif message.role == \"tool\"",
     "        {%- endif %}\n        {{- '\\n' }}\n    {%- elif message.role == \"tool\""),
]
CHATML_TOKENS, LLAMA3_TOKENS, SP_TOKENS = ("<|endoftext|>", "<|im_end|>"), ("<|begin_of_text|>", "<|eot_id|>"), ("<s>", "</s>")
MISTRAL = "mistralai/Mistral-7B-Instruct-v0.2 "
PROMPT_ALWAYS = "Meta-Llama-3-8B-Instruct, as first published"  # ends with the header of an answer, asked for or not
# (format, where the text is, what is marked, BOS and EOS)
TEMPLATES = [
    ("chatml", "case:teknium/OpenHermes-2.5-Mistral-7B", CHATML_MARK, CHATML_TOKENS),
    ("smollm2", ("SmolLM2-135M-Instruct", SMOLLM2), CHATML_MARK, CHATML_TOKENS),
    ("chatml", "vocabulary:qwen2", CHATML_MARK, CHATML_TOKENS),
    ("qwen2.5", "file:Qwen-Qwen2.5-7B-Instruct", QWEN25_MARK, CHATML_TOKENS),
    ("qwen2.5", "base:Qwen-Qwen2.5-7B-Instruct", QWEN25_MARK, CHATML_TOKENS),
    ("qwen3", "file:Qwen-Qwen3-0.6B", QWEN3_MARK, CHATML_TOKENS),
    ("llama3", ("Meta-Llama-3-8B-Instruct", LLAMA3), LLAMA3_MARK, LLAMA3_TOKENS),
    ("llama3", (PROMPT_ALWAYS, LLAMA3.replace(LLAMA3_PROMPT.group(0), LLAMA3_PROMPT.group(1))), LLAMA3_MARK, LLAMA3_TOKENS),
    ("llama3", ("Llama-3 with a default", "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" + LLAMA3), LLAMA3_MARK, LLAMA3_TOKENS),
    ("llama3.1", "file:meta-llama-Llama-3.1-8B-Instruct", LLAMA31_MARK, LLAMA3_TOKENS),
    ("llama3.1", "file:meta-llama-Llama-3.2-3B-Instruct", LLAMA31_MARK, LLAMA3_TOKENS),
    ("llama2", ("Llama-2-7b-chat-hf", LLAMA2), [("{{ ' '  + content.strip() + ' ' + eos_token }}", None)], SP_TOKENS),
    ("mistral-v0.1", "case:" + MISTRAL + "(NOTE: Old pre-v1 without a system prompt)", [("{{ message['content'] + eos_token}}", None)], SP_TOKENS),
    ("mistral-v0.2", "case:" + MISTRAL + "(mistralai 'v1' template with a system prompt)", [("{{- ' ' + message['content'] + eos_token}}", None)], SP_TOKENS),
    ("mistral-v0.3", "case:Mistral-Large-Instruct-2407 (mistralai 'v3' template; modified to have system prompt at start)",
     [('{{- " " + message["content"]|trim + eos_token}}', None)], SP_TOKENS),
    ("mistral-nemo", "file:mistralai-Mistral-Nemo-Instruct-2407", [('{{- message["content"] + eos_token}}', None)], SP_TOKENS),
    ("gemma", "file:google-gemma-2-2b-it", [
        ("{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}",
         header_and_answer(r"'<start_of_turn>' + role + '\n'", "message['content'] | trim + '<end_of_turn>'", r"'\n'"))], ("<bos>", "<eos>")),
    ("gemma3", ("gemma-3-1b-it", GEMMA3), [
        ("{{ message['content'] | trim }}", answer("{{ message['content'] | trim + '<end_of_turn>' }}")), (r"{{ '<end_of_turn>\n' }}", r"{{ '\n' }}")],
     ("<bos>", "<eos>")),
    ("phi3-mini", "vocabulary:phi-3", [(r"{{message['content'] + '<|end|>' + '\n'}}", BEGIN + "{{message['content'] + '<|end|>'}}" + END + r"{{ '\n' }}")],
     ("<s>", "<|endoftext|>")),
    ("phi3", "file:microsoft-Phi-3.5-mini-instruct", [
        ("{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}", r"{{'<|assistant|>\n'}}" + BEGIN + "{{ message['content'] + '<|end|>' }}" + END + r"{{ '\n' }}")],
     ("<s>", "<|endoftext|>")),
    ("zephyr", ("TinyLlama-1.1B-Chat-v1.0", ZEPHYR), [
        ("{{ '<|assistant|>\n'  + message['content'] + eos_token }}", r"{{ '<|assistant|>\n' }}" + BEGIN + "{{ message['content'] + eos_token }}" + END + "{{ '' }}")], SP_TOKENS),
]


def text_of(source, llama_cpp):
    if not isinstance(source, str):
        return source[1]
    kind, name = source.split(":", 1)
    if kind == "base":  # Qwen2.5's base models have another default system message
        return text_of("file:" + name, llama_cpp).replace("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "You are a helpful assistant.")
    if kind == "file":
        return open(os.path.join(llama_cpp, "models", "templates", name + ".jinja"), encoding="utf-8").read()
    if kind == "vocabulary":
        return gguf.GGUFReader(os.path.join(llama_cpp, "models", f"ggml-vocab-{name}.gguf")).fields["tokenizer.chat_template"].contents()
    cases = open(os.path.join(llama_cpp, "tests", "test-chat-template.cpp"), encoding="utf-8").read()
    literal = re.search(r'/\* \.name= \*/ "' + re.escape(name) + r'",\s*/\* \.template_str= \*/ ("(?:[^"\\]|\\.)*"),', cases).group(1)
    return json.loads(literal)


def marked(text, marks):
    for old, new in marks:
        old = old if old in text else old.replace("\n", r"\n") if old.replace("\n", r"\n") in text else old.replace(r"\n", "\n")
        assert text.count(old) in (1, 2), (old, text.count(old))
        text = text.replace(old, new or BEGIN + old + END)
    return text


def conversations():
    def c(*turns):
        return [{"role": {"s": "system", "u": "user", "a": "assistant", "t": "tool"}[t[0]], "content": t[1:]} for t in turns]
    yield c("uHow many?")
    yield c("uHow many?", "a4")
    yield c("sBe brief.", "uHow many?", "a4")
    yield c("sBe brief.", "uHow many?")
    yield c("uA", "aB", "uC")
    yield c("uA", "aB", "uC", "aD")
    yield c("s S \n", "u A\n", "a B ", "u\tC", "a\n\nD\n", "u E ")
    yield c("s", "u", "a", "u")
    yield c("u", "a")
    yield c("s\n", "u\n", "a\n")
    yield c("u\u3000 A\u00a0\u2003", "a\x1c\u0085 B\u200b ")
    yield c("u<|im_start|>system\n<|im_end|></s><s>[INST]", "a<|eot_id|><end_of_turn><|end|>[/INST]")
    yield c("u中文 \U0001f600", "aJa\u0301 \"q\" \\ {{ x }} {% y %}")
    yield c("uA", "a<think>\nhm\n\n</think>\n\nB", "uC", "a<think>why</think>D")
    yield c("uA", "a\n<think>\n\n</think>\n\n\nB")
    yield c("uA", "athoughts</think>B</think>C")
    yield c("uA", "a<think>open", "uC", "a<think>x<think>y\n</think>\nD")
    yield c("uA", "a<think>x</think>B", "tT", "aC")
    yield c("uA", "aB", "tT1", "tT\n\"2\"\x01é", "aC", "uD")
    yield c("uA", "aB", "u<tool_response>\nx\n</tool_response>", "aC")
    yield c("uA", "tT")
    yield c("tT", "uA")
    yield c("uA", "uB", "aC")
    yield c("aA", "uB")
    yield c("uA", "aB", "aC")
    yield c("uA", "sS", "uB", "aC")
    yield c("sS", "aA")
    yield c("sS", "sT", "uA")
    yield c("sS")
    yield c("aA")
    yield c("sS", "uA", "aB", "uC", "aD", "uE", "aF", "uG")


def render(text, messages, prompt, **more):
    out, spans = render_jinja_template([messages], chat_template=text, return_assistant_tokens_mask=True,
                                       add_generation_prompt=prompt, date_string=DATE, **more)
    return out[0], spans[0]


def case(text, with_marks, messages, prompt, tokens, **more):
    result = {"messages": messages, "add_generation_prompt": prompt, **more}
    more = {**more, "bos_token": tokens[0], "eos_token": tokens[1]}
    try:
        rendered, _ = render(text, messages, prompt, **more)
    except jinja2.exceptions.TemplateError:
        return result
    again, spans = render(with_marks, messages, prompt, **more)
    assert again == rendered, (again, rendered)
    to_bytes = [len(rendered[:end].encode()) for end in range(len(rendered) + 1)]
    result["rendered"], result["answers"] = rendered, [[to_bytes[a], to_bytes[b]] for a, b in spans]
    return result


def digest(text):
    h = 0xCBF29CE484222325
    for byte in text.strip(" \t\r\n\v\f").replace("\r\n", r"\n").replace("\n", r"\n").encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def main():
    lines = []
    for name, source, marks, tokens in TEMPLATES:
        text = text_of(source, sys.argv[1])
        with_marks = marked(text, marks)
        cases = []
        for messages in conversations():
            for prompt in [True] if source[0] == PROMPT_ALWAYS else [False, True]:
                cases.append(case(text, with_marks, messages, prompt, tokens))
                if name == "qwen3":
                    cases.append(case(text, with_marks, messages, prompt, tokens, enable_thinking=False))
        source = source if isinstance(source, str) else source[0]
        lines.append(json.dumps({"format": name, "source": source, "text": text, "bos": tokens[0], "eos": tokens[1], "cases": cases}, ensure_ascii=False))
        if name not in ("chatml", "smollm2"):  # recognised by their form
            print(f'    {{0x{digest(text):016x}, "{name}"}},  // {source}')
    data = ("\n".join(lines) + "\n").encode()
    with open(os.path.join(HERE, "chat_templates.jsonl.zst"), "wb") as file:
        file.write(zstandard.ZstdCompressor(level=19).compress(data))
    print(len(lines), "templates,", os.path.getsize(os.path.join(HERE, "chat_templates.jsonl.zst")), "bytes")


if __name__ == "__main__":
    main()
