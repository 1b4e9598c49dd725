# Write each file whole or not at all. One that exists keeps its rights; a new one has those of its folder.
$number = 0
foreach ($file in $given.files) {
    try {
        if (Test-Path -LiteralPath $file.path -PathType Container) { throw 'there is a folder of that name' }
        $folder = [IO.Path]::GetDirectoryName($file.path)
        [IO.Directory]::CreateDirectory($folder) | Out-Null
        $new = "$($file.path).goldenpipe-new"
        [IO.File]::WriteAllBytes($new, [Convert]::FromBase64String($file.content))
        if ([IO.File]::Exists($file.path)) { [IO.File]::Replace($new, $file.path, [NullString]::Value) }
        else { [IO.File]::Move($new, $file.path) }
    } catch {
        Write-Record "failed $number"
        throw
    }
    $number += 1
}
