# Runs as a job: each package by the guest's package manager, or an installer from its URL once its checksum is right.
function Get-Installer($item, [string] $folder) {
    $file = Join-Path $folder $item.file
    if (-not (Test-Path -LiteralPath $file)) {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
        for ($try = 1; ; $try++) {
            try {
                Invoke-WebRequest -UseBasicParsing -Uri $item.url -OutFile "$file.part"
                break
            } catch {
                if ($try -ge 3) { Write-Record "unreachable $($item.asked)"; throw }
                Start-Sleep -Seconds (5 * $try)
            }
        }
        Move-Item -Force -LiteralPath "$file.part" -Destination $file
    }
    $found = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
    if ($found -ne $item.sha256) {
        Remove-Item -Force -LiteralPath $file
        Write-Record "checksum $($item.asked) $($found.ToLower())"
        throw "the checksum of $($item.asked) is wrong"
    }
    return $file
}

function Start-Installer([string] $program, [string] $words) {
    $process = Start-Process -FilePath $program -ArgumentList $words -Wait -PassThru
    return $process.ExitCode
}

$restart = $false
$number = 0
foreach ($item in $given.items) {
    $mark = Join-Path "$state\done" $item.key
    $number += 1
    if (Test-Path -LiteralPath $mark) { continue }
    Write-Record "$([int](100 * ($number - 1) / @($given.items).Count)) Installing $($item.asked) ($number of $(@($given.items).Count))"
    $more = @()
    if ($item.version) { $more = @('--version', $item.version) }
    switch ($item.kind) {
        'chocolatey' {
            & $given.chocolatey install $item.name @more --yes --no-progress | Out-Host
            $code = $LASTEXITCODE
        }
        'winget' {
            & $given.winget install --exact --id $item.name @more --silent --scope machine --source winget `
                --accept-package-agreements --accept-source-agreements --disable-interactivity | Out-Host
            $code = $LASTEXITCODE
        }
        'msi' {
            $file = Get-Installer $item (Get-Location).Path
            $code = Start-Installer 'msiexec.exe' "/i ""$file"" /qn /norestart /l*v ""$file.log"" $($item.arguments)"
            if ($code -ne 0 -and (Test-Path -LiteralPath "$file.log")) { Get-Content -LiteralPath "$file.log" -Tail 20 | Out-Host }
        }
        'exe' {
            $file = Get-Installer $item (Get-Location).Path
            $code = Start-Installer $file $item.arguments
        }
    }
    if ($given.restart -contains $code) { $restart = $true }
    elseif ($given.fine -notcontains $code) {
        Write-Record "failed $code $($item.asked)"
        exit 1
    }
    New-Item -ItemType File -Force -Path $mark | Out-Null
}
Write-Record '100 Installed'
if ($restart) { exit 3010 }
