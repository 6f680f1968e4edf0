"""Every trl, peft and transformers argument that the notebooks use exists in the installed versions."""

import ast
import dataclasses
import inspect

from notebook_cells import PATHS, code_cells, source


def signatures():
    import peft
    import transformers
    import trl

    return {
        "LoraConfig": peft.LoraConfig, "SFTConfig": trl.SFTConfig, "SFTTrainer": trl.SFTTrainer,
        "BitsAndBytesConfig": transformers.BitsAndBytesConfig,
        "DataCollatorForLanguageModeling": transformers.DataCollatorForLanguageModeling,
        "train": trl.SFTTrainer.train, "save_model": trl.SFTTrainer.save_model,
        "apply_chat_template": transformers.PreTrainedTokenizerBase.apply_chat_template,
    }  # fmt: skip


FREE = {  # functions that take **kwargs: the arguments that the notebooks may use, each looked up in the library below
    "from_pretrained": {
        "revision",
        "quantization_config",
        "dtype",
        "attn_implementation",
        "device_map",
        "use_safetensors",
        "trust_remote_code",
    },
    "generate": {"max_new_tokens", "do_sample", "repetition_penalty", "pad_token_id"},
    "apply_chat_template": {"enable_thinking"},  # goes on to the template: test_evaluate asks a published one
}


def python(cell):
    """The cell's code, without the line that writes it into a file."""
    first, _, rest = source(cell).partition("\n")
    return rest if first.startswith("%%writefile") else source(cell)


def calls(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(python(cell))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
                yield name, owner, [k.arg for k in node.keywords if k.arg]


def test_every_trl_peft_transformers_argument_exists():
    known, seen = signatures(), 0
    for path in PATHS:
        for name, owner, arguments in calls(path):
            if name in known and "model" not in owner:
                target = known[name]
                allowed = {*inspect.signature(target).parameters, *FREE.get(name, ())}
                missing = set(arguments) - allowed
                assert not missing, f"{path.name}: {name} has no argument {missing} in the installed version"
                seen += len(arguments)
            elif name == "from_pretrained" and owner.startswith("Auto") or name == "generate" and owner != "evaluate":
                assert set(arguments) <= FREE[name], (path.name, name, arguments)
                seen += len(arguments)
    assert seen > 40


def test_the_free_arguments_exist_too():
    import transformers

    assert FREE["generate"] <= set(vars(transformers.GenerationConfig()))
    body = inspect.getsource(transformers.PreTrainedModel.from_pretrained)
    assert all(name in body for name in FREE["from_pretrained"] - {"trust_remote_code"})


def test_an_argument_that_moved_would_be_seen():
    import trl

    assert "max_seq_length" not in {
        f.name for f in dataclasses.fields(trl.SFTConfig)
    }  # the most reported break of other courses
