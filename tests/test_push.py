"""`push`: a run becomes a folder that every command reads; mistakes are one line."""


def test_a_pushed_folder_predicts(tiny_run, cli, tmp_path):
    done = cli("push", f"checkpoint={tiny_run[0].checkpoint}", f"to={tmp_path}/birds")
    assert done.code == 0, done.err
    assert (tmp_path / "birds" / "README.md").is_file()
    done = cli("evaluate", f"checkpoint={tmp_path}/birds", f"root={tiny_run[1]}", f"output_dir={tmp_path}/out")
    assert done.code == 0, done.err


def test_mistakes(tiny_run, cli, tmp_path):
    checkpoint = f"checkpoint={tiny_run[0].checkpoint}"
    (tmp_path / "file").touch()
    for choices, message in (
        ([f"checkpoint={tmp_path}/none.ckpt", f"to={tmp_path}/x"], "no such file"),
        ([checkpoint, f"to={tmp_path}/file"], "is a file; name a folder, or hf://owner/name"),
        ([checkpoint, f"to={tmp_path}/file/x"], "cannot be written"),
        ([checkpoint, "to=hf://birds"], "write hf://owner/name"),
        (["checkpoint=hf://owner/birds", f"to={tmp_path}/x"], "is on the hub already"),
        ([checkpoint], "to=... is needed"),
    ):
        done = cli("push", *choices)
        assert done.code == 1
        assert message in done.line
